package cli

import (
	"fmt"
	"time"

	"github.com/keyhold/keyhold/client"
)

// sinkOld is how far behind a copy of the audit log may be before the doctor minds.
const sinkOld = 15 * time.Minute

// sinks looks at the places where the audit log is copied to.
func (d *diagnosis) sinks(all []client.AuditSink) {
	const fix = "see docs/audit-sinks.md"
	for _, s := range all {
		check, behind := "audit sink "+s.Name, sinkBehind(s)
		what := "see the server's log, or ask as an operator"
		if s.Error != "" {
			what = s.Error
		}
		switch s.State {
		case "refused", "broken":
			d.add(check, findingFailed, fix, "it is %s: %s", s.State, what)
		case "failing":
			d.add(check, findingWarning, fix, "it cannot be reached or has trouble: %s", what)
		default:
			switch {
			case behind > sinkOld:
				d.add(check, findingWarning, "larger batches, or a faster receiver", "it is %s behind", spell(behind))
			case s.Missing > 0:
				d.add(check, findingWarning, "set required, or a longer retention", "records had left the log before they were shipped")
			default:
				d.add(check, findingOK, "", "%s", sinkStands(s))
			}
		}
	}
}

func sinkStands(s client.AuditSink) string {
	if s.BehindSeconds == 0 {
		return s.State
	}
	return fmt.Sprintf("%s, %s behind", s.State, spell(sinkBehind(s)))
}

func sinkBehind(s client.AuditSink) time.Duration {
	return time.Duration(s.BehindSeconds * float64(time.Second))
}
