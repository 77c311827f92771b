package sink

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/keyhold/keyhold/internal/audit"
)

// The fixed parts of a message.
const (
	appName = "keyhold"
	bom     = "\ufeff" // RFC 5424 §6.4: the message is UTF-8
	nothing = "-"      // RFC 5424 §6: NILVALUE
)

// Longest header fields, RFC 5424 §6.
const (
	maxHostname = 255
	maxMsgID    = 32
)

// header is what is the same in all messages of a sink.
type header struct {
	facility   int
	host       string
	procID     string
	sdID       string
	mostLength int
}

// message appends the RFC 5424 form of a record, framed by its length (RFC 5425 §4.3.1). The structured data has the record's fields, the text its
// JSON. If that is longer than a message may be, the JSON goes without the items, or is left out; the structured data says so.
func (h *header) message(dst []byte, origin string, e *audit.Entry, r *Record, line []byte) ([]byte, error) {
	left := ""
	msg := h.format(origin, e, r, line, left)
	if len(msg) > h.mostLength && len(r.Items) > 0 {
		short := *r
		short.Items, short.ItemVersions, left = nil, nil, "items"
		line, err := encode(&short)
		if err != nil {
			return dst, err
		}
		msg = h.format(origin, e, r, line, left)
	}
	if len(msg) > h.mostLength {
		msg = h.format(origin, e, r, nil, "json")
	}
	dst = append(strconv.AppendInt(dst, int64(len(msg)), 10), ' ')
	return append(dst, msg...), nil
}

func (h *header) format(origin string, e *audit.Entry, r *Record, line []byte, left string) []byte {
	b := make([]byte, 0, 1024+len(line))
	b = fmt.Appendf(b, "<%d>1 %s %s %s %s %s ", h.facility*8+severity(e.Outcome), e.Time.UTC().Format(timestamp),
		printable(h.host, maxHostname), appName, h.procID, printable(r.Action, maxMsgID))
	b = append(append(b, '['), h.sdID...)
	b = parameter(b, "origin", origin)
	for _, f := range r.fields() {
		b = parameter(b, f.name, f.text)
	}
	if left != "" {
		b = parameter(b, "left_out", left)
	}
	b = append(b, ']')
	if len(line) > 0 {
		b = append(append(append(b, ' '), bom...), line...)
	}
	return b
}

// timestamp is RFC 5424 §6.2.3: microseconds at most.
const timestamp = "2006-01-02T15:04:05.000000Z07:00"

// parameter appends an SD-PARAM (RFC 5424 §6.3.3): quotes, backslashes and closing brackets are escaped. What is not UTF-8, and control
// characters, with which a line could be forged where messages become lines of a file, are replaced.
func parameter(dst []byte, name, value string) []byte {
	dst = append(append(append(dst, ' '), name...), '=', '"')
	for _, r := range value {
		switch {
		case r == '"', r == '\\', r == ']':
			dst = append(dst, '\\', byte(r))
		case r < 0x20, r >= 0x7f && r < 0xa0:
			dst = utf8.AppendRune(dst, utf8.RuneError)
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}

// printable makes a header field: printable US-ASCII without spaces (RFC 5424 §6).
func printable(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r < 33 || r > 126 {
			return '?'
		}
		return r
	}, s)
	if s == "" {
		return nothing
	}
	return s[:min(len(s), most)]
}
