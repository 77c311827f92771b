package sink

import (
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/keyhold/keyhold/internal/audit"
)

// The few messages of opentelemetry/proto/logs/v1 that are needed, written by hand: the published module of generated code for the
// collector's services brings gRPC along.

// message appends a field that is a message, made by fill.
func message(dst []byte, n protowire.Number, fill func([]byte) []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(dst, n, protowire.BytesType), fill(nil))
}

func text(dst []byte, n protowire.Number, s string) []byte {
	if s == "" {
		return dst
	}
	return value(dst, n, s)
}

// value appends a string, which must be UTF-8: receivers refuse the whole request otherwise.
func value(dst []byte, n protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(dst, n, protowire.BytesType), strings.ToValidUTF8(s, "\ufffd"))
}

// attribute appends a KeyValue: key = 1, value = 2 (AnyValue: string_value = 1, int_value = 3).
func attribute(dst []byte, n protowire.Number, f field) []byte {
	return message(dst, n, func(kv []byte) []byte {
		return message(text(kv, 1, f.name), 2, func(v []byte) []byte {
			if f.counts {
				return protowire.AppendVarint(protowire.AppendTag(v, 3, protowire.VarintType), f.number)
			}
			return value(v, 1, f.text)
		})
	})
}

// exportRequest is ExportLogsServiceRequest: resource_logs = 1 (resource = 1, scope_logs = 2 (scope = 1, log_records = 2)).
func exportRequest(cfg *Config, b *batch, now time.Time) []byte {
	return message(make([]byte, 0, 2*b.size+1024), 1, func(rl []byte) []byte {
		rl = message(rl, 1, func(res []byte) []byte {
			for _, f := range []field{
				{name: "service.name", text: "keyhold"}, {name: "service.version", text: cfg.Version}, {name: "service.instance.id", text: cfg.Node},
				{name: "host.name", text: cfg.Host}, {name: "keyhold.cluster", text: cfg.Cluster}, {name: "keyhold.origin", text: b.origin},
			} {
				if f.text != "" {
					res = attribute(res, 1, f)
				}
			}
			return res
		})
		return message(rl, 2, func(sl []byte) []byte {
			sl = message(sl, 1, func(scope []byte) []byte { return text(scope, 1, "keyhold.audit") })
			for i := range b.entries {
				sl = message(sl, 2, func(r []byte) []byte { return logRecord(r, b, i, now) })
			}
			return sl
		})
	})
}

// logRecord is LogRecord: time_unix_nano = 1, severity_number = 2, severity_text = 3, body = 5, attributes = 6, observed_time_unix_nano =
// 11, event_name = 12. The body is the record's JSON.
func logRecord(dst []byte, b *batch, i int, now time.Time) []byte {
	e := &b.entries[i]
	number, name := otlpSeverity(e.Outcome)
	dst = protowire.AppendFixed64(protowire.AppendTag(dst, 1, protowire.Fixed64Type), uint64(e.Time.UnixNano())) //nolint:gosec // G115: after 1970
	dst = protowire.AppendVarint(protowire.AppendTag(dst, 2, protowire.VarintType), number)
	dst = text(dst, 3, name)
	dst = message(dst, 5, func(v []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(v, 1, protowire.BytesType), b.lines[i])
	})
	names := make(map[string]bool)
	for _, f := range b.records[i].fields() {
		if f.name = "keyhold." + f.name; !names[f.name] { // names of attributes are unique: the first key and policy stand for all
			dst = attribute(dst, 6, f)
		}
		names[f.name] = true
	}
	dst = protowire.AppendFixed64(protowire.AppendTag(dst, 11, protowire.Fixed64Type), uint64(now.UnixNano())) //nolint:gosec // G115: after 1970
	return text(dst, 12, "keyhold.audit."+b.records[i].Action)
}

// otlpSeverity gives SeverityNumber: INFO, WARN or ERROR.
func otlpSeverity(o audit.Outcome) (uint64, string) {
	switch severity(o) {
	case 3:
		return 17, "ERROR"
	case 4:
		return 13, "WARN"
	}
	return 9, "INFO"
}
