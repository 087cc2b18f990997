// A small upstream with verify.go in it, set by the environment: see ../README.md.

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const maxBody = 1 << 20

func main() {
	log.SetFlags(0)
	verifier := &Verifier{
		Keys:        NewKeys(needed("JWKS"), words("ALGORITHMS", "ES256", algorithms)),
		Issuer:      needed("ISSUER"),
		Audience:    needed("AUDIENCE"),
		RequireBind: words("REQUIRE_BIND", "", parts),
		Scheme:      setting("SCHEME", "http"),
		Once:        setting("ONCE", "") == "1",
	}
	verifier.Keys.Refetch, verifier.Keys.MaxAge = seconds("JWKS_REFETCH", "5"), seconds("JWKS_MAX_AGE", "300")
	header, before := setting("HEADER", "JWT"), ""
	if setting("BEARER", "") == "1" {
		before = "Bearer "
	}
	// No ServeMux: it answers paths that are not tidy with a redirect.
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			answer(w, 413, map[string]any{"title": "Content Too Large", "status": 413})
			return
		}
		token, err := tokenOf(r, header, before)
		var claims Claims
		if err == nil {
			claims, err = verifier.Verify(token, Request{r.Method, r.RequestURI, r.Host, body})
		}
		if err != nil {
			answer(w, 401, map[string]any{"title": "Unauthorized", "status": 401, "detail": err.Error()})
			return
		}
		answer(w, 200, claims)
	})
	listener, err := net.Listen("tcp", setting("LISTEN", "127.0.0.1:8080"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on %s\n", listener.Addr())
	server := &http.Server{Handler: handler, ReadTimeout: 30 * time.Second}
	log.Fatal(server.Serve(listener))
}

func tokenOf(r *http.Request, header, before string) (string, error) {
	lines := r.Header.Values(header)
	if len(lines) != 1 { // Of two, somebody else might read the other one.
		return "", fmt.Errorf("%d fields `%s` instead of one", len(lines), header)
	}
	token, found := strings.TrimPrefix(lines[0], before), strings.HasPrefix(lines[0], before)
	if !found {
		return "", fmt.Errorf("`%s` does not begin with `%s`", header, before)
	}
	return token, nil
}

func answer(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/problem+json")
	switch status {
	case 200:
		w.Header().Set("Content-Type", "application/json")
	case 401:
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	}
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(value)
}

func setting(name, otherwise string) string {
	if value, given := os.LookupEnv(name); given {
		return value
	}
	return otherwise
}

func needed(name string) string {
	value := setting(name, "")
	if value == "" {
		log.Fatalf("%s is not set", name)
	}
	return value
}

// A setting that is a list; with a word that is misspelt nothing starts.
func words(name, otherwise string, allowed []string) []string {
	found := strings.FieldsFunc(setting(name, otherwise), func(r rune) bool { return r == ',' })
	for _, word := range found {
		if !contains(allowed, word) {
			log.Fatalf("%s: `%s` is none of %s", name, word, strings.Join(allowed, " "))
		}
	}
	if len(found) == 0 && otherwise != "" {
		log.Fatalf("%s is empty", name)
	}
	return found
}

func seconds(name, otherwise string) time.Duration {
	number, err := strconv.Atoi(setting(name, otherwise))
	if err != nil {
		log.Fatalf("%s: %v", name, err)
	}
	return time.Duration(number) * time.Second
}
