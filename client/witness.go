package client

import (
	"time"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
)

// Witness is how it stands with a witness of the audit log.
type Witness struct {
	Name       string    `json:"name"`
	URL        string    `json:"url"`
	State      string    `json:"state"`                // ok, waiting, failing, refusing
	Origin     string    `json:"origin,omitempty"`     // of the newest checkpoint that it cosigned
	Size       uint64    `json:"size,omitempty"`       // records under it
	CosignedAt time.Time `json:"cosigned_at,omitzero"` // by the witness's clock
	Problem    string    `json:"problem,omitempty"`
}

func toWitness(w *keyholdv1.Witness) Witness {
	return Witness{
		Name: w.GetName(), URL: w.GetUrl(), State: w.GetState(), Origin: w.GetOrigin(), Size: w.GetSize(), CosignedAt: timeOf(w.GetCosignedAt()), Problem: w.GetProblem(),
	}
}
