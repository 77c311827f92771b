package native

import (
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
)

// What every method about a key answers is written by hand: by reflection it takes longer than storing the key. The result is the
// protobuf JSON mapping's (https://protobuf.dev/programming-guides/json): names in camel case, fields in order, what is empty or 0 left
// out, 64-bit numbers in strings. Text that needs escaping and times out of range are left to the codec; a fuzz test holds the
// two to each other.

// appendKeyResponse appends the JSON of an answer. False: let the codec write it.
func appendKeyResponse(dst []byte, m *keyholdv1.KeyResponse) ([]byte, bool) {
	w := jsonWriter{b: append(dst, '{')}
	if k := m.GetKey(); k != nil {
		w.name("key")
		w.key(k)
	}
	if len(m.GetVersions()) > 0 {
		w.name("versions")
		list(&w, m.GetVersions(), w.version)
	}
	return append(w.b, '}'), !w.bad
}

func (w *jsonWriter) key(k *keyholdv1.Key) {
	w.open()
	w.text("id", k.GetId())
	w.text("namespace", k.GetNamespace())
	w.text("name", k.GetName())
	if len(k.GetAliases()) > 0 {
		w.name("aliases")
		list(w, k.GetAliases(), w.string)
	}
	w.text("algorithm", k.GetAlgorithm())
	w.text("usage", k.GetUsage())
	w.text("origin", k.GetOrigin())
	w.text("state", k.GetState())
	w.number("primaryVersion", k.GetPrimaryVersion())
	w.number("latestVersion", k.GetLatestVersion())
	w.text("description", k.GetDescription())
	w.labels(k.GetLabels())
	w.time("createdAt", k.GetCreatedAt())
	w.time("changedAt", k.GetChangedAt())
	w.time("destroyAt", k.GetDestroyAt())
	w.time("destroyedAt", k.GetDestroyedAt())
	w.count("revision", k.GetRevision())
	w.number("bytes", k.GetBytes())
	w.text("leaks", k.GetLeaks())
	w.flag("freeze", k.GetFreeze())
	w.flag("processDeactivated", k.GetProcessDeactivated())
	w.flag("exportable", k.GetExportable())
	w.text("dataClass", k.GetDataClass())
	w.text("template", k.GetTemplate())
	if p := k.GetCryptoperiod(); p != nil {
		w.name("cryptoperiod")
		w.period(p)
	}
	w.time("rotatedAt", k.GetRotatedAt())
	w.time("rotateAt", k.GetRotateAt())
	w.number("nextVersion", k.GetNextVersion())
	w.time("nextAt", k.GetNextAt())
	w.time("irrecoverableAt", k.GetIrrecoverableAt())
	w.text("homeRegion", k.GetHomeRegion())
	if len(k.GetReplicas()) > 0 {
		w.name("replicas")
		list(w, k.GetReplicas(), w.replica)
	}
	w.close()
}

func (w *jsonWriter) replica(r *keyholdv1.KeyReplica) {
	w.open()
	w.text("region", r.GetRegion())
	w.text("state", r.GetState())
	w.text("description", r.GetDescription())
	w.labels(r.GetLabels())
	w.time("createdAt", r.GetCreatedAt())
	w.time("destroyAt", r.GetDestroyAt())
	w.close()
}

// labels appends labels by name, if there are any.
func (w *jsonWriter) labels(labels map[string]string) {
	if len(labels) == 0 {
		return
	}
	w.name("labels")
	w.open()
	for _, l := range slices.Sorted(maps.Keys(labels)) {
		w.comma()
		w.string(l)
		w.b = append(w.b, ':')
		w.string(labels[l])
	}
	w.close()
}

func (w *jsonWriter) period(p *keyholdv1.Cryptoperiod) {
	w.open()
	w.seconds("every", p.GetEvery())
	w.seconds("jitter", p.GetJitter())
	w.text("calendar", p.GetCalendar())
	w.count("operations", p.GetOperations())
	w.count("bytes", p.GetBytes())
	w.close()
}

func (w *jsonWriter) version(v *keyholdv1.KeyVersion) {
	w.open()
	w.number("version", v.GetVersion())
	w.text("algorithm", v.GetAlgorithm())
	w.text("state", v.GetState())
	w.text("origin", v.GetOrigin())
	w.text("source", v.GetSource())
	w.time("createdAt", v.GetCreatedAt())
	if len(v.GetHistory()) > 0 {
		w.name("history")
		list(w, v.GetHistory(), w.transition)
	}
	w.bytes("publicKey", v.GetPublicKey())
	w.bytes("checkValue", v.GetCheckValue())
	w.time("activateAt", v.GetActivateAt())
	w.time("deactivateAt", v.GetDeactivateAt())
	w.time("recallUntil", v.GetRecallUntil())
	w.time("expiresAt", v.GetExpiresAt())
	w.flag("archived", v.GetArchived())
	w.close()
}

func (w *jsonWriter) transition(t *keyholdv1.Transition) {
	w.open()
	w.text("state", t.GetState())
	w.time("at", t.GetAt())
	w.text("by", t.GetBy())
	w.text("reason", t.GetReason())
	w.close()
}

// jsonWriter appends JSON; bad says that something is for the codec to write.
type jsonWriter struct {
	b   []byte
	bad bool
}

func (w *jsonWriter) open()  { w.b = append(w.b, '{') }
func (w *jsonWriter) close() { w.b = append(w.b, '}') }

// comma separates what follows from what stands before it in an object or a list.
func (w *jsonWriter) comma() {
	if last := w.b[len(w.b)-1]; last != '{' && last != '[' {
		w.b = append(w.b, ',')
	}
}

func (w *jsonWriter) name(n string) {
	w.comma()
	w.b = append(append(append(w.b, '"'), n...), '"', ':')
}

// string appends a string that needs no escaping (RFC 8259 §7).
func (w *jsonWriter) string(s string) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			w.bad = true
		}
	}
	w.b = append(append(append(w.b, '"'), s...), '"')
}

func (w *jsonWriter) text(n, s string) {
	if s != "" {
		w.name(n)
		w.string(s)
	}
}

func (w *jsonWriter) number(n string, v uint32) {
	if v != 0 {
		w.name(n)
		w.b = strconv.AppendUint(w.b, uint64(v), 10)
	}
}

// count is a number of 64 bits.
func (w *jsonWriter) count(n string, v uint64) {
	if v != 0 {
		w.text(n, strconv.FormatUint(v, 10))
	}
}

// seconds is a length of time. The server gives whole seconds.
func (w *jsonWriter) seconds(n string, d *durationpb.Duration) {
	if d == nil {
		return
	}
	w.bad = w.bad || d.CheckValid() != nil || d.GetNanos() != 0
	w.text(n, strconv.FormatInt(d.GetSeconds(), 10)+"s")
}

func (w *jsonWriter) flag(n string, v bool) {
	if v {
		w.name(n)
		w.b = append(w.b, "true"...)
	}
}

func (w *jsonWriter) bytes(n string, v []byte) {
	if len(v) > 0 {
		w.name(n)
		w.b = append(base64.StdEncoding.AppendEncode(append(w.b, '"'), v), '"')
	}
}

// time appends RFC 3339 with 0, 3, 6 or 9 digits of a second.
func (w *jsonWriter) time(n string, t *timestamppb.Timestamp) {
	if t == nil {
		return
	}
	if t.CheckValid() != nil {
		w.bad = true
		return
	}
	layout := "2006-01-02T15:04:05.000000000Z"
	switch nanos := t.GetNanos(); {
	case nanos == 0:
		layout = "2006-01-02T15:04:05Z"
	case nanos%1e6 == 0:
		layout = "2006-01-02T15:04:05.000Z"
	case nanos%1e3 == 0:
		layout = "2006-01-02T15:04:05.000000Z"
	}
	w.name(n)
	w.b = append(time.Unix(t.GetSeconds(), int64(t.GetNanos())).UTC().AppendFormat(append(w.b, '"'), layout), '"')
}

func list[T any](w *jsonWriter, all []T, one func(T)) {
	w.b = append(w.b, '[')
	for _, v := range all {
		w.comma()
		one(v)
	}
	w.b = append(w.b, ']')
}
