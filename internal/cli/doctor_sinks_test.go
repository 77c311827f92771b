package cli

import (
	"strings"
	"testing"

	"github.com/keyhold/keyhold/client"
)

func TestTheDoctorSaysHowSinksStand(t *testing.T) {
	for _, tc := range []struct {
		s            client.AuditSink
		status, says string
	}{
		{client.AuditSink{State: "shipping"}, findingOK, "shipping"},
		{client.AuditSink{State: "shipping", BehindSeconds: 2}, findingOK, "shipping, 2s behind"},
		{client.AuditSink{State: "starting"}, findingOK, "starting"},
		{client.AuditSink{State: "shipping", BehindSeconds: 3600}, findingWarning, "it is 1h behind"},
		{client.AuditSink{State: "shipping", Missing: 1}, findingWarning, "left the log"},
		{client.AuditSink{State: "failing", Error: "no route"}, findingWarning, "no route"},
		{client.AuditSink{State: "refused"}, findingFailed, "it is refused: see the server's log"},
		{client.AuditSink{State: "broken", Error: "the cursor is damaged"}, findingFailed, "it is broken: the cursor is damaged"},
	} {
		tc.s.Name = "siem"
		var d diagnosis
		d.sinks([]client.AuditSink{tc.s})
		if f := d.Findings[0]; len(d.Findings) != 1 || f.Check != "audit sink siem" || f.Status != tc.status || !strings.Contains(f.Found, tc.says) {
			t.Errorf("%+v: got %+v", tc.s, d.Findings)
		}
	}
}
