// The gateway's public keys by `kid`, from a URL or a file, fetched again when needed.

package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// What can be told to be allowed. No `none`, and nothing with a shared secret.
var algorithms = []string{"ES256", "EdDSA", "RS256", "PS256"}

// Keys is a key set that is kept.
type Keys struct {
	Refetch, MaxAge time.Duration

	source         string
	allowed        []string
	client         http.Client
	fetching       sync.Mutex // one fetch at a time
	mutex          sync.RWMutex
	keys           map[string]*Key
	fetched, tried time.Time
}

// NewKeys is a key set at a URL or in a file, of keys for these algorithms.
func NewKeys(source string, allowed []string) *Keys {
	client := http.Client{Timeout: 5 * time.Second}
	return &Keys{Refetch: 5 * time.Second, MaxAge: 300 * time.Second, source: source, allowed: allowed, client: client}
}

// Get returns the key of this name, nil if there is none.
func (k *Keys) Get(kid string) *Key {
	key, isOld := k.look(kid)
	if key != nil && (!isOld || !k.fetching.TryLock()) {
		return key // Nobody waits for a fetch whose key is here already.
	}
	if key == nil {
		k.fetching.Lock()
	}
	defer k.fetching.Unlock()
	// Made-up names must not make us flood the gateway.
	if time.Since(k.tried) >= k.Refetch {
		k.fetch()
	}
	key, _ = k.look(kid)
	return key
}

func (k *Keys) look(kid string) (key *Key, isOld bool) {
	k.mutex.RLock()
	defer k.mutex.RUnlock()
	return k.keys[kid], time.Since(k.fetched) >= k.MaxAge
}

func (k *Keys) fetch() {
	k.tried = time.Now()
	text, err := k.read()
	var set struct{ Keys []jwk }
	if err == nil {
		err = json.Unmarshal(text, &set)
	}
	if err != nil {
		log.Print("key set not fetched: ", err) // The keys that are here stay good.
		return
	}
	keys := map[string]*Key{}
	for _, entry := range set.Keys {
		if key := entry.key(); key != nil && entry.Kid != "" && contains(k.allowed, entry.Alg) {
			keys[entry.Kid] = key
		}
	}
	k.mutex.Lock()
	defer k.mutex.Unlock()
	k.keys, k.fetched = keys, k.tried
}

func (k *Keys) read() ([]byte, error) {
	if !strings.Contains(k.source, "://") {
		return os.ReadFile(k.source)
	}
	answer, err := k.client.Get(k.source)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", k.source, answer.Status)
	}
	return io.ReadAll(io.LimitReader(answer.Body, 1<<20))
}

// Key is a public key and what it verifies.
type Key struct {
	Alg    string
	public crypto.PublicKey
}

func (k *Key) verifies(signed, signature []byte) bool {
	hash := sha256.Sum256(signed)
	switch public := k.public.(type) {
	case *ecdsa.PublicKey: // RFC 7518: r and s at full width, no ASN.1
		r, s := new(big.Int), new(big.Int)
		return len(signature) == 64 && ecdsa.Verify(public, hash[:], r.SetBytes(signature[:32]), s.SetBytes(signature[32:]))
	case ed25519.PublicKey:
		return ed25519.Verify(public, signed, signature)
	case *rsa.PublicKey:
		if k.Alg == "RS256" {
			return rsa.VerifyPKCS1v15(public, crypto.SHA256, hash[:], signature) == nil
		}
		salt := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
		return rsa.VerifyPSS(public, crypto.SHA256, hash[:], signature, salt) == nil
	}
	return false
}

// A key as RFC 7517 writes it.
type jwk struct{ Kid, Alg, Kty, Crv, X, Y, N, E string }

// Nil for a key that is not of the kind that its algorithm takes.
func (j jwk) key() *Key {
	number := func(text string) *big.Int {
		bytes, _ := base64url.DecodeString(text)
		return new(big.Int).SetBytes(bytes)
	}
	switch [3]string{j.Alg, j.Kty, j.Crv} {
	case [3]string{"ES256", "EC", "P-256"}:
		public := &ecdsa.PublicKey{Curve: elliptic.P256(), X: number(j.X), Y: number(j.Y)}
		if public.IsOnCurve(public.X, public.Y) {
			return &Key{j.Alg, public}
		}
	case [3]string{"EdDSA", "OKP", "Ed25519"}:
		if public, err := base64url.DecodeString(j.X); err == nil && len(public) == ed25519.PublicKeySize {
			return &Key{j.Alg, ed25519.PublicKey(public)}
		}
	case [3]string{"RS256", "RSA", ""}, [3]string{"PS256", "RSA", ""}:
		n, e := number(j.N), number(j.E)
		if n.BitLen() >= 2048 && e.BitLen() <= 31 {
			return &Key{j.Alg, &rsa.PublicKey{N: n, E: int(e.Int64())}}
		}
	}
	return nil
}
