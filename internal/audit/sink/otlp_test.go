package sink

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// logs takes the bodies of the records of an OTLP request. Module test/otlp reads the same with the published protocol's own code.
func logs(t *testing.T, r *receiver, req *http.Request, body []byte) {
	if req.Header.Get("Content-Type") != protobuf {
		t.Errorf("got the type %q", req.Header.Get("Content-Type"))
	}
	for _, text := range descend(t, body, 1, 2, 2, 5, 1) { // resource_logs, scope_logs, log_records, body, string_value
		var rec Record
		if err := json.Unmarshal(text, &rec); err != nil {
			t.Error(err)
		}
		r.records[rec.Position]++
	}
}

// descend finds the fields at the end of a path of field numbers.
func descend(t *testing.T, msg []byte, path ...protowire.Number) (found [][]byte) {
	if len(path) == 0 {
		return [][]byte{msg}
	}
	err := eachField(msg, func(n protowire.Number, v []byte, _ uint64) error {
		if n == path[0] {
			found = append(found, descend(t, v, path[1:]...)...)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return found
}

func (r *receiver) otlp(name string) Sink {
	return Sink{Name: name, Kind: OTLP, URL: r.URL + "/v1/logs", CAFile: r.ca.file("ca.pem")}
}

func TestAnOTLPReceiverGetsEverything(t *testing.T) {
	b, r := newBench(t), newReceiver(t, logs)
	b.write(many())
	r.answer = func(n int, w http.ResponseWriter) bool {
		if n == 2 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return n == 2
	}
	set := b.ship(r.otlp("otel"))
	shipped(t, set, "otel")
	if n, twice := r.count(); n != b.written || twice != 0 {
		t.Errorf("got %d records, %d twice; want %d", n, twice, b.written)
	}
}

// An answer of 200 that rejects records, or that is not one of OTLP, is no success: the batch stays.
func TestAPartialSuccessIsNone(t *testing.T) {
	partial := message(nil, 1, func(p []byte) []byte {
		return text(protowire.AppendVarint(protowire.AppendTag(p, 1, protowire.VarintType), 3), 2, "too old")
	})
	for name, tc := range map[string]struct {
		kind string
		body []byte
		want string
	}{
		"partial success": {protobuf, partial, "it rejected 3 of 1 records: too old"},
		"a web page":      {"text/html", []byte("<html>log in"), "no OTLP receiver"},
		"garbage":         {protobuf, []byte{0xff, 0xff}, "not one of OTLP"},
	} {
		t.Run(name, func(t *testing.T) {
			b, r := newBench(t), newReceiver(t, logs)
			mended := false
			r.answer = func(_ int, w http.ResponseWriter) bool {
				if !mended {
					w.Header().Set("Content-Type", tc.kind)
					_, _ = w.Write(tc.body)
				}
				return !mended
			}
			set := b.ship(r.otlp("otel"))
			eventually(t, "a refusal", func() bool { return status(t, set, "otel").State == Refused })
			if s := status(t, set, "otel"); !strings.Contains(s.Error, tc.want) || !s.Position.IsZero() {
				t.Errorf("got %+v", s)
			}
			r.mu.Lock()
			mended = true
			r.mu.Unlock()
			shipped(t, set, "otel")
		})
	}
	warning := message(nil, 1, func(p []byte) []byte { return text(p, 2, "just a warning") })
	if n, why, err := exportResponse(warning); n != 0 || why != "just a warning" || err != nil {
		t.Errorf("got %d %q %v", n, why, err)
	}
}

func FuzzExportResponse(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0x0a, 0x04, 0x08, 0x03, 0x12, 0x00})
	f.Fuzz(func(t *testing.T, msg []byte) {
		if _, why, err := exportResponse(msg); err == nil && len(why) > len(msg) {
			t.Fatalf("%d bytes of text from %d", len(why), len(msg))
		}
	})
}
