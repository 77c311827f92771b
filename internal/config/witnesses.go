package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Witnessing is who watches over the audit log.
type Witnessing struct {
	Witnesses []string // "VERIFIER-KEY URL"
	Quorum    int      // cosignatures that make a checkpoint a witnessed one; 0: of all
	Every     time.Duration
	CAFile    string // of their certificates; empty: the system's authorities
}

// MaxWitnesses is the most witnesses there can be.
const MaxWitnesses = 16

// witnesses makes a row for verifier keys and URLs. Only their form is checked: whether a key is one, its user finds out.
func witnesses(name string, at func(*Config) *[]string, help string) setting {
	return setting{name: name, form: "VERIFIER-KEY URL, as in w.example/w1+1a2b3c4d+BA… https://w.example; or a list of them", help: help, list: true,
		assign: func(c *Config, vs []string, _ string) error {
			if len(vs) > MaxWitnesses {
				return fmt.Errorf("%d witnesses are more than %d", len(vs), MaxWitnesses)
			}
			for i, v := range vs {
				if err := checkWitness(v); err != nil {
					return err
				}
				if slices.Contains(vs[:i], v) {
					return fmt.Errorf("%q is there twice", clip(v))
				}
			}
			*at(c) = slices.Clone(vs)
			return nil
		}}
}

func checkWitness(v string) error {
	key, at, ok := strings.Cut(v, " ")
	if !ok || strings.Count(key, "+") < 2 {
		return fmt.Errorf("%q is not a verifier key, a space and a URL", clip(v))
	}
	u, err := url.Parse(at)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%q is not an https URL without a user, a query and a fragment", clip(at))
	}
	return nil
}

// checkQuorum checks the policy against the number of witnesses.
func (w *Witnessing) checkQuorum(from map[string]place, ps *Problems) {
	if w.Quorum > len(w.Witnesses) {
		ps.add(from["audit.witness_quorum"], "audit.witness_quorum", fmt.Sprintf("it is %d, and there are %d witnesses", w.Quorum, len(w.Witnesses)), "at most the number of audit.witnesses")
	}
}
