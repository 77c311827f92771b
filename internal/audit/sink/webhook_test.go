package sink

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestAnswersAreJudged(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		status  int
		after   string
		refused bool
		want    time.Duration
	}{
		{500, "", false, 0}, {503, "7", false, 7 * time.Second}, {429, "Tue, 01 Jan 2030 00:01:00 GMT", false, time.Minute}, {425, "x", false, 0},
		{408, "-1", false, 0}, {429, "999999", false, maxRetryAfter}, {429, "99999999999999", false, 0}, {503, "Tue, 01 Jan 2019 00:01:00 GMT", false, 0},
		{400, "7", true, 0}, {401, "", true, 0}, {413, "", true, 0}, {301, "", true, 0}, {307, "", true, 0}, {304, "", true, 0},
	} {
		res := &http.Response{StatusCode: tc.status, Status: strconv.Itoa(tc.status), Header: http.Header{"Retry-After": {tc.after}}}
		var f *fault
		if err := judge(res, []byte("why\nnot"), now); !errors.As(err, &f) || f.refused != tc.refused || f.after != tc.want || strings.Contains(err.Error(), "\n") {
			t.Errorf("%d %q: got %+v", tc.status, tc.after, f)
		}
	}
}

func TestPausesGrowAndSpread(t *testing.T) {
	p := Pace{}
	p.complete()
	for n, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 20: 5 * time.Minute, 1000: 5 * time.Minute} {
		seen := make(map[time.Duration]bool)
		for range 100 {
			d := p.pause(n, errors.New("x"))
			if d < want/2 || d > want {
				t.Errorf("after %d failures: %s, want %s to %s", n, d, want/2, want)
			}
			seen[d] = true
		}
		if len(seen) < 10 {
			t.Errorf("after %d failures everybody waits the same", n)
		}
	}
	if d := p.pause(1, refused(errors.New("no"))); d < 15*time.Second || d > 30*time.Second {
		t.Errorf("after a refusal: %s", d)
	}
	if d := p.pause(1, &fault{err: errors.New("later"), after: time.Hour}); d != maxRetryAfter {
		t.Errorf("a receiver asked for an hour and got %s", d)
	}
}

// A batch that is refused stays, visibly, and is delivered when the receiver is mended: nothing is passed over.
func TestARefusedBatchStays(t *testing.T) {
	b, r := newBench(t), newReceiver(t, webhooks)
	b.write(1000)
	mended := false
	r.answer = func(_ int, w http.ResponseWriter) bool {
		if !mended {
			http.Error(w, "no such hook", http.StatusNotFound)
		}
		return !mended
	}
	set := b.ship(r.webhook("hook"))
	eventually(t, "refusals", func() bool { s := status(t, set, "hook"); return s.State == Refused && s.Failures >= 3 })
	if s := status(t, set, "hook"); !strings.Contains(s.Error, "404") || !strings.Contains(s.Error, "no such hook") || s.Since.IsZero() || s.Behind <= 0 || s.Lag != uint64(b.written) {
		t.Errorf("got %+v", s)
	}
	r.mu.Lock()
	mended = true
	r.mu.Unlock()
	shipped(t, set, "hook")
	if n, twice := r.count(); n != b.written || twice != 0 {
		t.Errorf("got %d records, %d twice; want %d", n, twice, b.written)
	}
	if s := status(t, set, "hook"); s.State != Shipping || s.Error != "" || !s.Since.IsZero() {
		t.Errorf("got %+v", s)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	b, r, elsewhere := newBench(t), newReceiver(t, webhooks), newReceiver(t, webhooks)
	r.answer = func(_ int, w http.ResponseWriter) bool {
		w.Header().Set("Location", elsewhere.URL)
		w.WriteHeader(http.StatusTemporaryRedirect)
		return true
	}
	set := b.ship(r.webhook("hook"))
	eventually(t, "a refusal", func() bool { return status(t, set, "hook").State == Refused })
	if n := elsewhere.requests(); n != 0 {
		t.Errorf("the records went elsewhere %d times", n)
	}
}

func TestABatchKeepsToItsBounds(t *testing.T) {
	b := newBench(t)
	b.write(500)
	most, size := 0, 0
	r := newReceiver(t, func(t *testing.T, r *receiver, req *http.Request, body []byte) {
		webhooks(t, r, req, body)
		most, size = max(most, strings.Count(string(body), "\n")), max(size, len(body))
	})
	s := r.webhook("hook")
	s.BatchRecords, s.BatchBytes = 50, 8<<10
	set := b.ship(s)
	shipped(t, set, "hook")
	r.mu.Lock()
	defer r.mu.Unlock()
	if most > 50 || size > 8<<10+50 || most < 5 {
		t.Errorf("a batch had %d records, one %d bytes", most, size)
	}
}

func TestAuthorizationAndSecretsThatCannotBeReadAreSaid(t *testing.T) {
	b, r := newBench(t), newReceiver(t, webhooks)
	s := r.webhook("hook")
	broken := errors.New("the secret is gone")
	s.Sign = func(msg []byte) ([]byte, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if broken != nil {
			return nil, broken
		}
		return sign(msg)
	}
	s.Authorization = func() (string, error) { return "Bearer abc", nil }
	set := b.ship(s)
	eventually(t, "a failure", func() bool { return strings.Contains(status(t, set, "hook").Error, "the secret is gone") })
	r.mu.Lock()
	broken = nil
	r.mu.Unlock()
	shipped(t, set, "hook")
	if got := r.header("Authorization"); len(got) != 1 || got[0] != "Bearer abc" {
		t.Errorf("got %q", got)
	}
}

func TestWrongSettingsAreRefused(t *testing.T) {
	b := newBench(t)
	good := Sink{Name: "a", Kind: Webhook, URL: "https://x", Sign: sign}
	for what, spoil := range map[string]func(*Sink){
		"name": func(s *Sink) { s.Name = "../a" }, "kind": func(s *Sink) { s.Kind = "kafka" }, "http": func(s *Sink) { s.URL = "http://x" },
		"user": func(s *Sink) { s.URL = "https://u:p@x" }, "no secret": func(s *Sink) { s.Sign = nil }, "no address": func(s *Sink) { s.Kind = Syslog },
		"no folder": func(s *Sink) { s.Kind = Directory }, "batch": func(s *Sink) { s.BatchRecords = -1 }, "bytes": func(s *Sink) { s.BatchBytes = 1 << 30 },
		"facility": func(s *Sink) { s.Facility = 24 },
	} {
		s := good
		spoil(&s)
		if _, err := New(Config{Log: b.log, Dir: b.dir, Sinks: []Sink{s}}); err == nil {
			t.Errorf("%s: it was taken", what)
		}
	}
	if _, err := New(Config{Log: b.log, Dir: b.dir, Sinks: []Sink{good, good}}); err == nil {
		t.Error("two of one name were taken")
	}
	if _, err := New(Config{Log: b.log, Dir: b.dir, Sinks: []Sink{good}}); err != nil {
		t.Error(err)
	}
}
