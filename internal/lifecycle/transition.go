package lifecycle

import "github.com/keyhold/keyhold/internal/kms"

// leadsTo: where each state may go. That a destroyed version was compromised should not be forgotten: Destruction says
// destroyed-compromised, a state that KMIP has and SP 800-57 has not; plain destroyed is permitted for what does not know it.
var leadsTo = [...]kms.States{
	kms.PreActive:            kms.In(kms.Active, kms.Compromised, kms.Destroyed, kms.DestroyedCompromised),
	kms.Active:               kms.In(kms.Suspended, kms.Deactivated, kms.Compromised),
	kms.Suspended:            kms.In(kms.Active, kms.Deactivated, kms.Compromised),
	kms.Deactivated:          kms.In(kms.Archived, kms.Compromised, kms.Destroyed),
	kms.Archived:             kms.In(kms.Deactivated, kms.Compromised, kms.Destroyed),
	kms.Compromised:          kms.In(kms.Destroyed, kms.DestroyedCompromised),
	kms.Destroyed:            0,
	kms.DestroyedCompromised: 0,
}

// Next decides whether a version may go from one state to another: nil, CodeAlreadyDone if it is there, CodeVersionState if
// no step leads there, CodeInternal for a state that does not exist.
func Next(from, to kms.State) error {
	if !exists(from) || !exists(to) {
		return unknown(0, max(from, to), 0)
	}
	if leadsTo[from].Has(to) {
		return nil
	}
	if from == to {
		return kms.Errorf(kms.CodeAlreadyDone, "the version is %s already", to)
	}
	refusal := kms.Errorf(kms.CodeVersionState, "a version that is %s cannot become %s", from, to)
	if leadsTo[from] == 0 {
		refusal.Next = kms.CodeKeyDestroyed.Next()
	} else {
		refusal.Next = "possible from here: " + list(leadsTo[from])
	}
	return refusal
}

// Destruction lists the states that destroying a version goes through, last the one in which its material is gone: an active
// or suspended version is deactivated first. CodeAlreadyDone if it is destroyed.
func Destruction(from kms.State) ([]kms.State, error) {
	switch from {
	case kms.Active, kms.Suspended:
		return []kms.State{kms.Deactivated, kms.Destroyed}, nil
	case kms.PreActive, kms.Deactivated, kms.Archived:
		return []kms.State{kms.Destroyed}, nil
	case kms.Compromised:
		return []kms.State{kms.DestroyedCompromised}, nil
	case kms.Destroyed, kms.DestroyedCompromised:
		return nil, kms.Errorf(kms.CodeAlreadyDone, "the version is %s already", from)
	}
	return nil, unknown(0, from, 0)
}

func exists(st kms.State) bool { return st >= kms.PreActive && int(st) < len(leadsTo) }

func list(set kms.States) string {
	text := ""
	for _, st := range kms.AllStates() {
		if set.Has(st) {
			if text != "" {
				text += ", "
			}
			text += st.String()
		}
	}
	return text
}
