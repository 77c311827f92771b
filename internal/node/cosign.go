package node

import (
	"crypto/x509"
	"os"
	"path/filepath"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/audit/cosign"
	"github.com/keyhold/keyhold/internal/audit/tree"
	"github.com/keyhold/keyhold/internal/config"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/server"
)

// witnessesOf reads the keys of the configured witnesses.
func witnessesOf(set *config.Config) ([]cosign.Witness, error) {
	var all []cosign.Witness
	var keys []*tree.Witness
	for _, text := range set.Audit.Witnessing.Witnesses {
		w, err := cosign.ParseWitness(text)
		if err == nil {
			keys, err = tree.AddWitness(keys, w.Key)
		}
		if err != nil {
			return nil, kms.Errorf(kms.CodeBadSetting, "audit.witnesses: %v", err).Because(err)
		}
		all = append(all, w)
	}
	return all, nil
}

func keysOf(all []cosign.Witness) []*tree.Witness {
	var keys []*tree.Witness
	for _, w := range all {
		keys = append(keys, w.Key)
	}
	return keys
}

// openCosign makes what asks the witnesses.
func (n *Node) openCosign(all []cosign.Witness) (*cosign.Publisher, error) {
	set := &n.opt.Settings.Audit
	cfg := cosign.Config{Log: n.log, Witnesses: all, Dir: filepath.Join(set.Dir, nodeName), Every: set.Witnessing.Every, Logger: n.opt.Log}
	if path := set.Witnessing.CAFile; path != "" {
		text, err := os.ReadFile(filepath.Clean(path))
		if err != nil {
			return nil, kms.Errorf(kms.CodeBadSetting, "audit.witness_ca_file cannot be read: %v", err).Because(err)
		}
		cfg.Roots = x509.NewCertPool()
		if !cfg.Roots.AppendCertsFromPEM(text) {
			return nil, kms.Errorf(kms.CodeBadSetting, "audit.witness_ca_file: %s holds no certificate", path)
		}
	}
	return cosign.New(cfg), nil
}

// measureWitnesses lists the figures of the witnesses, labelled with their names.
func (n *Node) measureWitnesses(m *server.Metrics) {
	for i, w := range n.cosign.States() {
		labels := map[string]string{"witness": w.Name}
		now := func() audit.WitnessState { return n.cosign.States()[i] }
		m.AddLabelled(labels,
			server.Figure{Name: "audit_witness_failures_total", Help: "Requests to the witness that brought no cosignature, since the start.", Counter: true,
				Read: func() float64 { return float64(now().Failed) }},
			server.Figure{Name: "audit_witness_cosigned_records", Help: "Audit records under the newest checkpoint that the witness cosigned in this boot epoch.", Read: func() float64 {
				if s := now(); s.Origin == n.log.Origin() {
					return float64(s.Size)
				}
				return 0
			}},
			server.Figure{Name: "audit_witness_cosigned_timestamp_seconds", Help: "When the witness last cosigned, Unix time; 0: not since the start.", Read: func() float64 {
				if at := now().At; !at.IsZero() {
					return float64(at.Unix())
				}
				return 0
			}},
		)
		for _, state := range audit.WitnessStates() {
			labels := map[string]string{"witness": w.Name, "state": state}
			m.AddLabelled(labels, server.Figure{Name: "audit_witness_state", Help: "1 for the state that the witness is in.", Read: func() float64 {
				if now().State == state {
					return 1
				}
				return 0
			}})
		}
	}
}
