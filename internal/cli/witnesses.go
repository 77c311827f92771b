package cli

import (
	"fmt"
	"time"

	"github.com/keyhold/keyhold/client"
)

// cosignedOld is how old the newest cosignature of a witness may be before the doctor minds.
const cosignedOld = 15 * time.Minute

// witnesses looks at the witnesses of the audit log.
func (d *diagnosis) witnesses(all []client.Witness) {
	for _, w := range all {
		check := "witness " + w.Name
		switch age := time.Since(w.CosignedAt); {
		case w.State == "refusing":
			d.add(check, findingFailed, "compare its checkpoints with the log before anything else: docs/audit.md, \"A witness that refuses\"", "%s", w.Problem)
		case w.State == "failing":
			d.add(check, findingWarning, "see docs/audit.md, \"Witnesses\"", "%s", w.Problem)
		case w.State == "ok" && !w.CosignedAt.IsZero() && age > cosignedOld:
			d.add(check, findingWarning, "see the server's log", "it last cosigned %s ago", spell(age))
		case w.State == "ok":
			d.add(check, findingOK, "", "%s", witnessStands(w))
		default:
			d.add(check, findingOK, "", "%s", w.State)
		}
	}
}

func witnessStands(w client.Witness) string {
	if w.CosignedAt.IsZero() {
		return w.State
	}
	return fmt.Sprintf("%s, cosigned %s records of %s at %s", w.State, count(w.Size), w.Origin, moment(w.CosignedAt))
}

func witnessFacts(all []client.Witness) []fact {
	var facts []fact
	for _, w := range all {
		stands := plain(witnessStands(w))
		if w.Problem != "" {
			stands = cell{w.State + ": " + w.Problem, red}
		}
		facts = append(facts, fact{"witness " + w.Name, stands})
	}
	return facts
}
