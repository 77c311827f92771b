package kms

import "time"

// State is where a key version stands in its life (NIST SP 800-57 part 1 rev. 5 §7).
type State uint8

// The states of a version.
const (
	PreActive State = iota + 1
	Active
	Suspended
	Deactivated
	Archived
	Compromised
	Destroyed
	DestroyedCompromised

	stateEnd
)

var stateNames = [...]string{
	PreActive: "pre-active", Active: "active", Suspended: "suspended", Deactivated: "deactivated",
	Archived: "archived", Compromised: "compromised", Destroyed: "destroyed",
	DestroyedCompromised: "destroyed-compromised",
}

// AllStates lists every state, for tables and tests that range over them.
func AllStates() []State {
	var all []State
	for s := PreActive; s < stateEnd; s++ {
		all = append(all, s)
	}
	return all
}

func (s State) String() string {
	if s >= PreActive && s < stateEnd {
		return stateNames[s]
	}
	return "unknown-state"
}

// States is a set of states.
type States uint16

// In makes a set.
func In(states ...State) States {
	var set States
	for _, s := range states {
		set |= 1 << s
	}
	return set
}

// Has tells whether a state is in the set.
func (set States) Has(s State) bool { return set&(1<<s) != 0 }

// Switch is the operator's switch on a whole key. It and the version's state must both permit an operation.
type Switch uint8

// The positions of the switch.
const (
	Enabled Switch = iota + 1
	Disabled
	SuspendedKey       // processes (decrypts, verifies), does not protect
	PendingImport      // has no material
	PendingDestruction // does nothing until cancelled or destroyed
	DestroyedKey       // metadata alone remains

	switchEnd
)

var switchNames = [...]string{
	Enabled: "enabled", Disabled: "disabled", SuspendedKey: "suspended", PendingImport: "pending-import",
	PendingDestruction: "pending-destruction", DestroyedKey: "destroyed",
}

// AllSwitches lists every position of the switch.
func AllSwitches() []Switch {
	var all []Switch
	for s := Enabled; s < switchEnd; s++ {
		all = append(all, s)
	}
	return all
}

func (s Switch) String() string {
	if s >= Enabled && s < switchEnd {
		return switchNames[s]
	}
	return "unknown-switch"
}

// ParseSwitch reads the name of a position.
func ParseSwitch(s string) (Switch, bool) {
	for i, name := range switchNames {
		if name == s && name != "" {
			return Switch(i), true //nolint:gosec // G115: a table of seven
		}
	}
	return 0, false
}

// Transition is one dated step in a version's life.
type Transition struct {
	To     State     `json:"to"`
	At     time.Time `json:"at"`
	By     string    `json:"by,omitempty"` // display name of the principal
	Reason string    `json:"why,omitempty"`
}
