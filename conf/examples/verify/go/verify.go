// Verifies the token that Tollgate puts on a request: copy this file and keys.go.
//
//	verifier := &Verifier{Keys: NewKeys(url, []string{"ES256"}), Issuer: …, Audience: …}
//	claims, err := verifier.Verify(token, Request{…})
//
// Standard library only. server.go shows it at work, ../README.md says what each check
// is for.
package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Seconds that clocks may differ.
const leeway = 5

var parts = []string{"method", "path", "query", "host", "body"}

// Strict: no padding, no stray bits, so that a token has one spelling.
var base64url = base64.RawURLEncoding.Strict()

// Request is what a token has to be for.
type Request struct {
	Method string
	Target string // path and query as they came, neither decoded nor tidied
	Host   string
	Body   []byte
}

// Claims is the payload of a token.
type Claims map[string]any

// Verifier says whether a token is good for a request.
type Verifier struct {
	Keys             *Keys
	Issuer, Audience string
	RequireBind      []string // some of `parts`
	Scheme           string   // http or https, as the gateway calls this server
	Once             bool     // each token counts once

	mutex sync.Mutex
	seen  map[string]float64 // until when each `jti` is remembered
	sweep float64            // when those that are over are forgotten
}

// Verify returns the claims of a token that is for exactly this request. An error says
// why it is not good: answer 401.
func (v *Verifier) Verify(token string, request Request) (Claims, error) {
	pieces := strings.Split(token, ".")
	if len(pieces) != 3 {
		return nil, errors.New("it is no JWT")
	}
	// A map: into a struct, `KID` would be read as `kid`.
	var header map[string]any
	if err := decode(pieces[0], &header); err != nil {
		return nil, err
	}
	if _, given := header["crit"]; given {
		return nil, errors.New("the header has `crit`: it means what is not understood here")
	}
	kid, _ := header["kid"].(string)
	key := v.Keys.Get(kid)
	if key == nil {
		return nil, errors.New("the key is unknown")
	}
	// The algorithm is the key's own; what the token says can only agree.
	if header["alg"] != key.Alg {
		return nil, fmt.Errorf("the key is one for %s", key.Alg)
	}
	signature, err := base64url.DecodeString(pieces[2])
	if err != nil || !key.verifies([]byte(pieces[0]+"."+pieces[1]), signature) {
		return nil, errors.New("the signature is wrong")
	}
	var claims Claims
	if err := decode(pieces[1], &claims); err != nil {
		return nil, err
	}
	for _, check := range []func() error{
		func() error { return v.checkClaims(claims) },
		func() error { return v.checkRequest(claims, request) },
		func() error { return v.checkOnce(claims) }, // Last: only a good token is used up.
	} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	return claims, nil
}

func (v *Verifier) checkClaims(claims Claims) error {
	now := float64(time.Now().Unix())
	exp, hasExp := claims["exp"].(float64)
	iat, hasIat := claims["iat"].(float64)
	nbf, hasNbf := claims["nbf"].(float64)
	_, givesNbf := claims["nbf"]
	switch {
	case claims["iss"] != v.Issuer:
		return errors.New("`iss` is another")
	case claims["aud"] != v.Audience:
		return errors.New("`aud` is another")
	case !hasExp || !hasIat || givesNbf != hasNbf:
		return errors.New("a time is missing or no number")
	case exp <= now-leeway:
		return errors.New("it has expired")
	case nbf > now+leeway || iat > now+leeway:
		return errors.New("it is not valid yet")
	}
	return nil
}

func (v *Verifier) checkRequest(claims Claims, request Request) error {
	path, query, _ := strings.Cut(request.Target, "?")
	htu, isText := claims["htu"].(string)
	wholeURL := isText && !strings.HasPrefix(htu, "/")
	if wholeURL {
		path = v.Scheme + "://" + request.Host + path
	}
	bodyClaim, bodyHash := "bh", hash(request.Body)
	// Profile `kong_upstream_jwt`: in hex, and nothing of nothing.
	if _, given := claims["payloadhash"]; given {
		bodyClaim, bodyHash = "payloadhash", ""
		if len(request.Body) > 0 {
			bodyHash = fmt.Sprintf("%x", sha256.Sum256(request.Body))
		}
	}
	for _, bound := range []struct{ part, claim, value string }{
		{"method", "htm", request.Method},
		{"path", "htu", path},
		{"query", "qh", hash([]byte(query))},
		{"body", bodyClaim, bodyHash},
	} {
		found, given := claims[bound.claim]
		required := contains(v.RequireBind, bound.part)
		switch {
		case !given && required:
			return fmt.Errorf("`%s` is missing", bound.claim)
		// The gateway did not know the body: good only where nobody asks for it.
		case bound.part == "body" && found == "UNSIGNED" && !required:
		case given && found != bound.value:
			return fmt.Errorf("`%s` is of another request", bound.claim)
		}
	}
	if contains(v.RequireBind, "host") && !wholeURL {
		return errors.New("`htu` names no host")
	}
	return nil
}

func (v *Verifier) checkOnce(claims Claims) error {
	if !v.Once {
		return nil
	}
	jti, isText := claims["jti"].(string)
	if !isText {
		return errors.New("`jti` is missing")
	}
	v.mutex.Lock()
	defer v.mutex.Unlock()
	now := float64(time.Now().Unix())
	if v.seen == nil {
		v.seen = map[string]float64{}
	}
	if now >= v.sweep {
		for old, until := range v.seen {
			if until < now {
				delete(v.seen, old)
			}
		}
		v.sweep = now + 10
	}
	if _, seen := v.seen[jti]; seen {
		return errors.New("the token was used before")
	}
	v.seen[jti] = claims["exp"].(float64) + leeway + 1
	return nil
}

func decode(piece string, into any) error {
	text, err := base64url.DecodeString(piece)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return base64url.EncodeToString(sum[:])
}

func contains(list []string, word string) bool {
	for _, entry := range list {
		if entry == word {
			return true
		}
	}
	return false
}
