package lifecycle

import "github.com/keyhold/keyhold/internal/kms"

// Move is a step of the operator's switch.
type Move uint8

// The moves.
const (
	Enable   Move = iota + 1 // of a disabled key
	Disable                  // nothing works, reversible
	Suspend                  // processes only
	Resume                   // of a suspended key
	Import                   // its material has arrived
	Schedule                 // destruction: the window begins
	Cancel                   // back to where it was when destruction was scheduled
	Destroy                  // the window is over; by the system
	Forget                   // imported material is gone that the key does nothing without

	moveEnd
)

// AllMoves lists the moves, for tests that range over them.
func AllMoves() []Move {
	var all []Move
	for m := Enable; m < moveEnd; m++ {
		all = append(all, m)
	}
	return all
}

func (m Move) String() string {
	if m >= Enable && m < moveEnd {
		return [...]string{"", "enable", "disable", "suspend", "resume", "import", "schedule", "cancel", "destroy", "forget"}[m]
	}
	return "unknown-move"
}

// before stands for the position that the key had when its destruction was scheduled.
const before = kms.Switch(0xff)

// turns: the position that a move leads to. What is not here is refused.
var turns = [...][moveEnd]kms.Switch{
	kms.Enabled:            {Disable: kms.Disabled, Suspend: kms.SuspendedKey, Schedule: kms.PendingDestruction, Forget: kms.PendingImport},
	kms.Disabled:           {Enable: kms.Enabled, Schedule: kms.PendingDestruction, Forget: kms.PendingImport},
	kms.SuspendedKey:       {Resume: kms.Enabled, Disable: kms.Disabled, Schedule: kms.PendingDestruction, Forget: kms.PendingImport},
	kms.PendingImport:      {Import: kms.Enabled, Schedule: kms.PendingDestruction},
	kms.PendingDestruction: {Cancel: before, Destroy: kms.DestroyedKey},
	kms.DestroyedKey:       {},
}

// done: the position in which a move has nothing to do. Schedule is not here: a second window is not the first.
var done = [moveEnd]kms.Switch{
	Enable: kms.Enabled, Disable: kms.Disabled, Suspend: kms.SuspendedKey, Resume: kms.Enabled, Destroy: kms.DestroyedKey, Forget: kms.PendingImport,
}

// Turn gives the position that a move leads to from a position. Was is the position before destruction was scheduled
// (kms.Key.Before), which cancelling returns to; where it is not known, the key comes back disabled.
//
// Errors: CodeAlreadyDone; the code of the position that forbids the move; CodeWindow for cancelling or destroying a key
// whose destruction is not scheduled; CodeConflict for importing into a key that has material; CodeInternal for values that
// do not exist. The window itself is checked by Cancellable and Due.
func Turn(from, was kms.Switch, m Move) (kms.Switch, error) {
	if m < Enable || m >= moveEnd || from < kms.Enabled || int(from) >= len(turns) {
		return 0, kms.Errorf(kms.CodeInternal, "the key's life cannot be read (switch %d, move %d); nothing is changed", from, m)
	}
	to := turns[from][m]
	switch {
	case to == before:
		return returnTo(was), nil
	case to != 0:
		return to, nil
	case done[m] == from:
		return 0, kms.Errorf(kms.CodeAlreadyDone, "the key is %s already", from)
	case bySwitch[from].code == kms.CodeKeyDestroyed || bySwitch[from].code == kms.CodeKeyPendingDestruction:
		return 0, kms.Errorf(bySwitch[from].code, "%s: it cannot %s", bySwitch[from].why, m)
	case m == Cancel || m == Destroy:
		refusal := kms.Errorf(kms.CodeWindow, "the destruction of this key is not scheduled: nothing to %s", m)
		refusal.Next = "keyhold key show NAME shows where the key stands"
		return 0, refusal
	case m == Import:
		refusal := kms.Errorf(kms.CodeConflict, "the key has its material already")
		refusal.Next = "rotate it to bring in a new version"
		return 0, refusal
	}
	return 0, kms.Errorf(bySwitch[from].code, "%s: it cannot %s", bySwitch[from].why, m)
}

// returnTo never gives more than the key had: a position that cannot have been is read as disabled.
func returnTo(was kms.Switch) kms.Switch {
	switch was {
	case kms.Enabled, kms.SuspendedKey, kms.PendingImport:
		return was
	}
	return kms.Disabled
}
