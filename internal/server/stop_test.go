package server

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestAStopAnswersEveryRequestThatWasAccepted(t *testing.T) {
	t.Parallel()
	const requests = 300
	for name, change := range map[string]func(*http.Transport){"h1": func(*http.Transport) {}, "h2": http2Only} {
		t.Run(name, func(t *testing.T) {
			inside, leave := make(chan struct{}, requests), make(chan struct{})
			s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				inside <- struct{}{}
				<-leave
				_, _ = io.WriteString(w, "done")
			})
			c := s.client(change)
			idle := s.raw()
			var answered atomic.Int64
			var wg sync.WaitGroup
			for range requests {
				wg.Go(func() {
					resp, err := c.Get(s.url + "/t/")
					if err != nil {
						t.Errorf("lost: %v", err)
						return
					}
					defer resp.Body.Close() //nolint:errcheck // it was read
					if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "done" {
						t.Errorf("got %q %v", body, err)
						return
					}
					answered.Add(1)
				})
			}
			for range requests {
				<-inside
			}
			if _, err := io.WriteString(idle, "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			if _, err := idle.Read(make([]byte, 4096)); err != nil {
				t.Fatal(err)
			}
			s.stop()
			if rest, err := io.ReadAll(idle); err != nil || len(rest) > 4096 { // closed with close_notify, not torn down
				t.Errorf("the idle connection ended with %v", err)
			}
			for end := time.Now().Add(10 * time.Second); ; { // new ones are refused by the kernel
				conn, err := net.Dial("tcp", s.Addresses()[0].String())
				if err != nil {
					break
				}
				_ = conn.Close()
				if time.Now().After(end) {
					t.Fatal("new connections are still accepted")
				}
				time.Sleep(time.Millisecond)
			}
			if answered.Load() != 0 {
				t.Fatal("answered too early: the test tested nothing")
			}
			close(leave)
			wg.Wait()
			if got := answered.Load(); got != requests {
				t.Errorf("%d of %d were answered", got, requests)
			}
			if err := s.ended(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Clients that go on asking through a stop: every request that a handler saw gets its whole answer, and one that was not
// served never reached a handler.
func TestNoRequestIsLostBetweenTwoAnswers(t *testing.T) {
	t.Parallel()
	var handled, answered, refused atomic.Int64
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		handled.Add(1)
		_, _ = io.WriteString(w, "done")
	}, "shutdown.drain=300ms")
	c := s.client()
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for {
				req, err := http.NewRequest(http.MethodPost, s.url+"/t/", strings.NewReader("x")) // not repeated by the client by itself
				if err != nil {
					t.Error(err)
					return
				}
				resp, err := c.Do(req)
				if err != nil {
					refused.Add(1)
					return
				}
				body, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || string(body) != "done" {
					t.Errorf("got %q %v", body, err)
					return
				}
				answered.Add(1)
			}
		})
	}
	for answered.Load() < 200 {
		time.Sleep(time.Millisecond)
	}
	s.stop()
	wg.Wait()
	if err := s.ended(); err != nil {
		t.Error(err)
	}
	if handled.Load() != answered.Load() {
		t.Errorf("handled %d, answered %d, refused %d", handled.Load(), answered.Load(), refused.Load())
	}
}

func TestAServerThatStopsSaysSo(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, "shutdown.drain=1s")
	c := s.client()
	get(t, c, s.url+"/t/")
	s.stop()
	for end := time.Now().Add(10 * time.Second); !s.draining.Load(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not stop")
		}
	}
	resp, err := c.Get(s.url + "/t/")
	if err != nil || resp.StatusCode != 200 || !resp.Close {
		t.Errorf("while draining: %+v %v, want an answer that closes its connection", resp, err)
	}
	if status, _, body := get(t, c, s.url+"/health"); status != 503 || !strings.Contains(body, "KH1907") || !strings.Contains(body, `"stopping":true`) {
		t.Errorf("got %d %s", status, body)
	}
	if err := s.ended(); err != nil {
		t.Error(err)
	}
	if s.Run(t.Context()) == nil {
		t.Error("it was run twice")
	}
}

// A client that keeps HTTP/2 connections open without a request cannot hold up a stop.
func TestAConnectionWithoutARequestDoesNotHoldUpAStop(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, "shutdown.grace=30s")
	for range 20 { // connected, some of them not yet known to the HTTP/2 server when it stops
		conn, err := tls.Dial("tcp", s.Addresses()[0].String(), &tls.Config{RootCAs: s.roots, NextProtos: []string{"h2"}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close() //nolint:errcheck // the server closes it
	}
	began := time.Now()
	s.stop()
	if err := s.ended(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the stop took %s", took)
	}
}

// Not parallel: the signal is the whole process's.
func TestASignalStopsTheServer(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		s := serve(t, nil)
		get(t, s.client(), s.url+"/t/") // it runs, so it has asked for signals
		if err := syscall.Kill(os.Getpid(), sig); err != nil {
			t.Fatal(err)
		}
		if err := s.ended(); err != nil {
			t.Error(err)
		}
	}
}

func TestTheGracePeriodEnds(t *testing.T) {
	t.Parallel()
	inside, leave := make(chan struct{}), make(chan struct{})
	defer close(leave)
	s := serve(t, func(http.ResponseWriter, *http.Request) { close(inside); <-leave }, "shutdown.grace=100ms")
	c := s.client()
	cut := make(chan error, 1)
	go func() {
		_, err := c.Get(s.url + "/t/")
		cut <- err
	}()
	<-inside
	s.stop()
	if err := s.ended(); err == nil || !strings.Contains(err.Error(), "1 requests were cut off after 100ms") {
		t.Errorf("got %v", err)
	}
	if err := <-cut; err == nil || errors.Is(err, http.ErrHandlerTimeout) {
		t.Errorf("the client got %v", err)
	}
}
