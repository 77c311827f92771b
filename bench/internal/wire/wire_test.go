package wire

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

func serve(t *testing.T, h http.HandlerFunc) (*Server, *Conn) {
	t.Helper()
	web := httptest.NewTLSServer(h)
	t.Cleanup(web.Close)
	s, err := Parse(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Dial(t.Context(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return s, c
}

// Two requests each, so that the first answer was read to its very end.
func TestAnswersAreReadToTheirEnd(t *testing.T) {
	long := strings.Repeat("0123456789", 30_000)
	s, c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		switch r.URL.Path {
		case "/none":
			w.WriteHeader(http.StatusNoContent)
		case "/refused":
			http.Error(w, "no", http.StatusForbidden)
		case "/chunks":
			w.Header().Set("Trailer", "X-End")
			for part := range strings.SplitSeq(long, "0") {
				io.WriteString(w, part)
				w.(http.Flusher).Flush()
			}
			w.Header().Set("X-End", "1")
		case "/long":
			w.Header().Set("Content-Length", fmt.Sprint(len(long)))
			io.WriteString(w, long)
		default:
			fmt.Fprintf(w, "%s %s %s %d", r.Method, r.URL.Path, r.Header.Get("X-Test"), len(body))
		}
	})
	var q Sequence
	for _, c2 := range []struct {
		r      Request
		status int
		body   string
	}{
		{Request{Method: "GET", Path: "/a", Header: [][2]string{{"x-test", "y"}}}, 200, "GET /a y 0"},
		{Request{Method: "POST", Path: "/b", Body: []byte("hello")}, 200, "POST /b  5"},
		{Request{Method: "POST", Path: "/b"}, 200, "POST /b  0"},
		{Request{Method: "GET", Path: "/none"}, 204, ""},
		{Request{Method: "GET", Path: "/refused"}, 403, "no\n"},
		{Request{Method: "GET", Path: "/long"}, 200, long},
		{Request{Method: "GET", Path: "/chunks"}, 200, strings.ReplaceAll(long, "0", "")},
	} {
		m := s.Serialise(c2.r)
		for range 2 {
			status, body, err := c.Do(m, &q)
			if err != nil || status != c2.status || string(body) != c2.body {
				t.Errorf("%s %s: got %d, %d bytes %.40q, %v, want %d, %d bytes", c2.r.Method, c2.r.Path, status, len(body), body, err, c2.status, len(c2.body))
			}
		}
	}
}

func TestEveryRequestHasAnotherNumber(t *testing.T) {
	var seen sync.Map
	s, first := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if number, ok := strings.CutPrefix(r.URL.Path, "/k-"); !ok || string(body) != "n="+number {
			t.Errorf("got %s with %q, want one number in both", r.URL.Path, body)
		}
		if _, again := seen.LoadOrStore(r.URL.Path, true); again {
			t.Errorf("%s came twice", r.URL.Path)
		}
	})
	second, err := s.Dial(t.Context(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	var q Sequence
	q.Start(9_999_999_990) // and over the end
	r := Request{Method: "POST", Path: "/k-" + Counter, Body: []byte("n=" + Counter)}
	var all sync.WaitGroup
	for _, c := range []*Conn{first, second} {
		all.Go(func() {
			m := s.Serialise(r)
			for range 50 {
				if status, _, err := c.Do(m, &q); err != nil || status != 200 {
					t.Errorf("got %d, %v", status, err)
				}
			}
		})
	}
	all.Wait()
}

func TestOnlyThisMachineIsLoaded(t *testing.T) {
	for _, bad := range []string{"", "http://127.0.0.1:80", "https://127.0.0.1", "https://192.0.2.1:443", "https://example.org:443", "https://[2001:db8::1]:1", "127.0.0.1:443"} {
		if _, err := Parse(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
	for _, good := range []string{"https://127.0.0.1:7443", "https://localhost:1", "https://[::1]:8200"} {
		if _, err := Parse(good); err != nil {
			t.Error(err)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7fffffff\r\n", "HTTP/1.1 999", "",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := reader(b)
		status, body, err := c.read()
		if err == nil && (status < 200 || status > 999) {
			t.Errorf("got status %d", status)
		}
		if len(body) > maxAnswer {
			t.Errorf("got %d bytes", len(body))
		}
	})
}

func reader(b []byte) *Conn { return &Conn{in: bufio.NewReaderSize(bytes.NewReader(b), 32<<10)} }
