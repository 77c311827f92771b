package native

import (
	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"github.com/keyhold/keyhold/internal/engine"
)

// witnessMessages tell how it stands with the witnesses of the audit log.
func witnessMessages(all []engine.WitnessStatus) []*keyholdv1.Witness {
	return each(all, func(w *engine.WitnessStatus) *keyholdv1.Witness {
		return &keyholdv1.Witness{Name: w.Name, Url: w.URL, State: w.State, Origin: w.Origin, Size: w.Size, CosignedAt: stamp(w.At), Problem: w.Problem}
	})
}
