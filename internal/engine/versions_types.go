package engine

import (
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
)

// Dates are when a new version begins and ends to protect and process, in whole seconds. The zero value: at once, and never.
type Dates struct {
	ActivateAt   time.Time `json:",omitzero"` // pre-active until then
	PreActive    bool      `json:",omitzero"` // pre-active until it is activated by hand
	DeactivateAt time.Time `json:",omitzero"`
}

// settle checks the dates by the time of the operation.
func (d *Dates) settle(now time.Time) (err error) {
	if d.PreActive && !d.ActivateAt.IsZero() {
		return kms.Errorf(kms.CodeBadRequest, "a version is pre-active until its date, or until it is activated by hand: not both")
	}
	if !d.ActivateAt.IsZero() {
		if d.ActivateAt, err = lifecycle.Date(d.ActivateAt, now, "activation"); err != nil {
			return err
		}
	}
	if !d.DeactivateAt.IsZero() {
		if d.DeactivateAt, err = lifecycle.Date(d.DeactivateAt, now, "deactivation"); err != nil {
			return err
		}
	}
	return lifecycle.InOrder(d.ActivateAt, d.DeactivateAt)
}

func (d *Dates) state() kms.State {
	if d.PreActive || !d.ActivateAt.IsZero() {
		return kms.PreActive
	}
	return kms.Active
}

func (d *Dates) spelt() string {
	if d.ActivateAt.IsZero() {
		return "by hand"
	}
	return "at " + spelt(d.ActivateAt)
}

// VersionInput names a version of a key.
type VersionInput struct {
	Key     kms.Ref
	Version uint32
}

// ActivateInput makes a pre-active version active, or says when it becomes so.
type ActivateInput struct {
	Key     kms.Ref
	Version uint32
	At      time.Time // zero: now
	ByHand  bool      // instead: it has no date any more, and waits to be activated by hand
}

// DeactivateInput ends a version's life of use: it neither protects nor processes any more.
type DeactivateInput struct {
	Key     kms.Ref
	Version uint32
	At      time.Time `json:",omitzero"` // zero: now
	Never   bool      `json:",omitzero"` // instead: it has no date of deactivation any more
}

// RecallInput lets a deactivated or archived version process for a while. Others have to approve it; ending it takes nobody else.
type RecallInput struct {
	Key     kms.Ref
	Version uint32
	For     time.Duration // 0: an hour; at most 30 days
	End     bool          // end the recall that is open
}

// ArchiveInput puts a deactivated version away.
type ArchiveInput struct {
	Key     kms.Ref
	Version uint32

	put *putAway // filled by prepare, outside the transaction
}

// CompromiseInput marks versions of a key as compromised.
type CompromiseInput struct {
	Key      kms.Ref
	Versions []uint32 // at most 64
	All      bool     // instead: every version that is not destroyed

	made  *newVersion // a new primary version, where the one that is may be among them
	below uint32      // of All: the versions below this number; 0: all
	tells bool        // the caller may know who used them
}

// CompromiseOutput is the key, the versions that are marked, and what they exposed.
type CompromiseOutput struct {
	Key      kms.Key
	Versions []kms.Version // as many as an answer shows of them, newest first
	Exposed  []Exposure    // of each version that is marked and ever protected, newest first
	Left     uint32        `json:",omitzero"` // of all versions, those below this number are still to be marked; 0: none

	Evidence `json:"-"` // about those that are exposed; read afterwards
}
