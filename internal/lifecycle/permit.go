package lifecycle

import "github.com/keyhold/keyhold/internal/kms"

// Need is what an operation asks of a key and one of its versions.
type Need uint8

// The needs.
const (
	Protect Need = iota + 1 // encrypt, wrap, sign, make a MAC, make a data key
	Process                 // decrypt, unwrap, verify, check a MAC
	Rewrap                  // open a managed data key inside, to wrap it under the primary: that side is Protect
	Publish                 // give out the public key
	Rotate                  // make a new primary version
	Manage                  // change names, labels, policy and settings
	Read                    // look at metadata

	needEnd
)

// AllNeeds lists the needs, for tests that range over them.
func AllNeeds() []Need {
	var all []Need
	for n := Protect; n < needEnd; n++ {
		all = append(all, n)
	}
	return all
}

func (n Need) String() string {
	if n >= Protect && n < needEnd {
		return [...]string{"", "protect", "process", "rewrap", "publish", "rotate", "manage", "read"}[n]
	}
	return "unknown-need"
}

// Terms are the presets of a key and what was granted for one operation. The zero value is the default: nothing extra.
type Terms struct {
	Freeze             bool // preset: suspended, of key or version, stops processing too
	ProcessDeactivated bool // the key's policy says process: deactivated versions process (the default of KMIP)
	Recall             bool // an approved recall is open now: deactivated and archived versions process
	Compromised        bool // the caller holds the permission of its own to process with compromised versions
}

// rule is one cell: when it permits.
type rule uint8

const (
	never    rule = iota // also of every cell that is not written
	always               // whatever the terms
	unfrozen             // unless the preset is freeze
	recalled             // while a recall is open
	kept                 // by the key's policy, or while a recall is open
	granted              // by the permission for compromised versions
)

func (r rule) permits(t Terms) bool {
	switch r {
	case always:
		return true
	case unfrozen:
		return !t.Freeze
	case recalled:
		return t.Recall
	case kept:
		return t.ProcessDeactivated || t.Recall
	case granted:
		return t.Compromised
	case never:
	}
	return false
}

type row [needEnd]rule

// bySwitch: what the operator's switch leaves of each need.
var bySwitch = [...]struct {
	needs row
	code  kms.Code
	why   string
}{
	kms.Enabled: {
		needs: row{Protect: always, Process: always, Rewrap: always, Publish: always, Rotate: always, Manage: always, Read: always},
	},
	kms.Disabled: {
		needs: row{Manage: always, Read: always},
		code:  kms.CodeKeyDisabled, why: "the key is disabled",
	},
	kms.SuspendedKey: {
		needs: row{Process: unfrozen, Rewrap: unfrozen, Publish: unfrozen, Manage: always, Read: always},
		code:  kms.CodeKeySuspended, why: "the key is suspended",
	},
	kms.PendingImport: {
		needs: row{Manage: always, Read: always},
		code:  kms.CodeKeyPendingImport, why: "the key has no material yet",
	},
	kms.PendingDestruction: {
		needs: row{Read: always},
		code:  kms.CodeKeyPendingDestruction, why: "the key is waiting to be destroyed",
	},
	kms.DestroyedKey: {
		needs: row{Read: always},
		code:  kms.CodeKeyDestroyed, why: "the key was destroyed",
	},
}

// byState: what a version's state leaves of each need. What does not touch material asks nothing of the state.
var byState = [...]row{
	kms.PreActive:            {Publish: always, Rotate: always, Manage: always, Read: always},
	kms.Active:               {Protect: always, Process: always, Rewrap: always, Publish: always, Rotate: always, Manage: always, Read: always},
	kms.Suspended:            {Process: unfrozen, Rewrap: always, Publish: always, Rotate: always, Manage: always, Read: always},
	kms.Deactivated:          {Process: kept, Rewrap: always, Publish: always, Rotate: always, Manage: always, Read: always},
	kms.Archived:             {Process: recalled, Publish: always, Rotate: always, Manage: always, Read: always},
	kms.Compromised:          {Process: granted, Rewrap: always, Publish: always, Rotate: always, Manage: always, Read: always},
	kms.Destroyed:            {Rotate: always, Manage: always, Read: always},
	kms.DestroyedCompromised: {Rotate: always, Manage: always, Read: always},
}

// advice says what to do about a state that forbids. Process has its own: there is a way for most states.
var advice = [...]struct{ protect, process string }{
	kms.PreActive:   {"wait for its activation date, or activate it", "wait for its activation date, or activate it"},
	kms.Suspended:   {"resume the version, or rotate the key", "resume the version: its preset is freeze"},
	kms.Deactivated: {"use the primary version, or rotate the key", "ask for a recall, or let the key's policy process with deactivated versions"},
	kms.Archived:    {"use the primary version, or rotate the key", "ask for a recall"},
	kms.Compromised: {"use the primary version, or rotate the key", "the caller needs the permission to process with compromised versions"},
	kms.Destroyed:   {"use the primary version, or rotate the key", "nothing: destruction cannot be undone"},
	kms.DestroyedCompromised: {
		"use the primary version, or rotate the key", "nothing: destruction cannot be undone",
	},
}

// Permits decides whether a version in a state, of a key with a switch, may serve a need: nil, or a *kms.Error. The switch
// speaks first: CodeKeyDisabled, CodeKeySuspended, CodeKeyPendingImport, CodeKeyPendingDestruction or CodeKeyDestroyed; then
// the state: CodeVersionState. Values that do not exist are refused with CodeInternal.
func Permits(sw kms.Switch, st kms.State, need Need, t Terms) error {
	if err := KeyPermits(sw, need, t); err != nil {
		return err
	}
	return VersionPermits(st, need, t)
}

// KeyPermits is the switch's half of Permits, for operations that touch no version.
func KeyPermits(sw kms.Switch, need Need, t Terms) error {
	if need < Protect || need >= needEnd || sw < kms.Enabled || int(sw) >= len(bySwitch) {
		return unknown(sw, 0, need)
	}
	s := &bySwitch[sw]
	if s.needs[need].permits(t) {
		return nil
	}
	return kms.Errorf(s.code, "%s and does not %s", s.why, need)
}

// VersionPermits is the state's half of Permits.
func VersionPermits(st kms.State, need Need, t Terms) error {
	if need < Protect || need >= needEnd || st < kms.PreActive || int(st) >= len(byState) {
		return unknown(0, st, need)
	}
	if byState[st][need].permits(t) {
		return nil
	}
	refusal := kms.Errorf(kms.CodeVersionState, "the version is %s and does not %s", st, need)
	refusal.Next = advice[st].protect
	if need != Protect {
		refusal.Next = advice[st].process
	}
	return refusal
}

// StatesFor is the set of states in which a version serves a need, for tables that are sets.
func StatesFor(need Need, t Terms) kms.States {
	var set kms.States
	for _, st := range kms.AllStates() {
		if VersionPermits(st, need, t) == nil {
			set |= kms.In(st)
		}
	}
	return set
}

func unknown(sw kms.Switch, st kms.State, need Need) error {
	return kms.Errorf(kms.CodeInternal, "the key's life cannot be read (switch %d, state %d, need %d); nothing is permitted", sw, st, need)
}
