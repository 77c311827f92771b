package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/client"
)

func TestTheDoctorSaysHowTimeStands(t *testing.T) {
	mark := time.Date(2031, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		s            client.Status
		status, says string
	}{
		{client.Status{}, "", ""},
		{client.Status{ClusterID: "c"}, findingOK, "dates go by the server's clock"},
		{client.Status{ClusterID: "c", Clock: client.Clock{Trusted: mark, Machine: mark.AddDate(1, 0, 0), DestructionSuspended: true}}, findingFailed, "2031-03-01 12:00:00Z to 2032-03-01 12:00:00Z"},
		{client.Status{ClusterID: "c", Clock: client.Clock{Trusted: mark, Machine: mark.Add(-time.Hour), BehindSeconds: 3600}}, findingFailed, "1h behind: it was 2031-03-01 12:00:00Z already"},
	} {
		var d diagnosis
		d.time(tc.s)
		if tc.status == "" {
			if len(d.Findings) != 0 {
				t.Errorf("%+v: got %+v", tc.s, d.Findings)
			}
			continue
		}
		if f := d.Findings[0]; len(d.Findings) != 1 || f.Check != "time" || f.Status != tc.status || !strings.Contains(f.Found, tc.says) || (f.Fix != "") != (tc.status != findingOK) {
			t.Errorf("%+v: got %+v", tc.s, d.Findings)
		}
	}
}
