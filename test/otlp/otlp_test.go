package otlp

import (
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	logs "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	"google.golang.org/protobuf/proto"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/audit/audittest"
	"github.com/keyhold/keyhold/internal/audit/sink"
)

// collected is what a receiver keeps.
type collected struct {
	mu       sync.Mutex
	resource map[string]string
	scope    string
	records  map[string]*logs.LogRecord // by position
}

func (c *collected) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var req collector.ExportLogsServiceRequest
	if err := proto.Unmarshal(body, &req); err != nil || len(req.ProtoReflect().GetUnknown()) > 0 {
		http.Error(w, "not an ExportLogsServiceRequest", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rl := range req.ResourceLogs {
		c.resource = attributes(rl.Resource.Attributes)
		for _, sl := range rl.ScopeLogs {
			c.scope = sl.Scope.Name
			for _, rec := range sl.LogRecords {
				c.records[attributes(rec.Attributes)["keyhold.position"]] = rec
			}
		}
	}
	answer, err := proto.Marshal(&collector.ExportLogsServiceResponse{PartialSuccess: &collector.ExportLogsPartialSuccess{ErrorMessage: "a warning"}})
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(answer)
}

func attributes(all []*common.KeyValue) map[string]string {
	m := make(map[string]string)
	for _, kv := range all {
		switch v := kv.Value.Value.(type) {
		case *common.AnyValue_StringValue:
			m[kv.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			m[kv.Key] = strconv.FormatInt(v.IntValue, 10)
		default:
			m[kv.Key] = "?"
		}
	}
	return m
}

func TestTheProtocolsOwnCodeReadsEveryRecord(t *testing.T) {
	got := &collected{records: make(map[string]*logs.LogRecord)}
	server := httptest.NewTLSServer(got)
	defer server.Close()
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := audit.Open(audit.Config{Dir: filepath.Join(dir, "audit"), Node: "n1", Cluster: audittest.Cluster})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	const many = 10_000
	batch := make([]*audit.Record, 0, 1000)
	for i := range many {
		r := audittest.Record(i)
		if i%3 == 1 {
			r.Outcome, r.Code = audit.Denied, 1201
		}
		if i == many/2 {
			r.Reason, r.Detail = "not \xff UTF-8", "nor \xc3"
		}
		if batch = append(batch, r); len(batch) == cap(batch) {
			if _, err := log.AppendAll(batch); err != nil {
				t.Fatal(err)
			}
			batch = batch[:0]
		}
	}
	set, err := sink.New(sink.Config{
		Log: log, Dir: filepath.Join(dir, "sinks"), Node: "n1", Cluster: audittest.Cluster, Host: "host.example", Version: "v1",
		Sinks: []sink.Sink{{Name: "otel", Kind: sink.OTLP, URL: server.URL + "/v1/logs", CAFile: ca}},
		Pace:  sink.Pace{Poll: 5 * time.Millisecond, First: 5 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	set.Start()
	defer set.Close()
	for limit := time.Now().Add(time.Minute); set.Status()[0].Lag > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("it did not catch up: %+v", set.Status()[0])
		}
	}
	got.mu.Lock()
	defer got.mu.Unlock()
	if len(got.records) != many+1 { // and StartServer
		t.Errorf("got %d records, want %d", len(got.records), many+1)
	}
	for name, want := range map[string]string{
		"service.name": "keyhold", "service.version": "v1", "service.instance.id": "n1", "host.name": "host.example",
		"keyhold.cluster": audittest.Cluster, "keyhold.origin": log.Origin(),
	} {
		if got.resource[name] != want {
			t.Errorf("%s: got %q, want %q", name, got.resource[name], want)
		}
	}
	if got.scope != "keyhold.audit" {
		t.Errorf("got the scope %q", got.scope)
	}
	for position, r := range got.records {
		var rec sink.Record
		if err := json.Unmarshal([]byte(r.Body.GetStringValue()), &rec); err != nil {
			t.Fatal(err)
		}
		want, text := logs.SeverityNumber_SEVERITY_NUMBER_INFO, "INFO"
		if rec.Outcome == "denied" {
			want, text = logs.SeverityNumber_SEVERITY_NUMBER_WARN, "WARN"
		}
		a := attributes(r.Attributes)
		if rec.Position != position || r.TimeUnixNano != uint64(rec.Time.UnixNano()) || r.ObservedTimeUnixNano < r.TimeUnixNano && rec.Action == "StartServer" ||
			r.SeverityNumber != want || r.SeverityText != text || r.EventName != "keyhold.audit."+rec.Action || a["keyhold.action"] != rec.Action ||
			a["keyhold.code"] != rec.Code || a["keyhold.bytes"] != "32" && rec.Action == "Decrypt" {
			t.Fatalf("record %s: got %v, whose body is %+v", position, r, rec)
		}
	}
}
