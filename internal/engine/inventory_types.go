package engine

import (
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// InventoryInput asks for what is known of the keys of a namespace that the caller may describe, in order of creation.
type InventoryInput struct {
	Filter InventoryFilter
	Page   string // the previous answer's Next
	Limit  int    // 0: 100; at most 1000
}

// InventoryFilter selects keys; zero fields select all.
type InventoryFilter struct {
	KeyFilter
	Origin      kms.Origin
	State       kms.State // of the primary version
	Class       string
	Template    string
	Overdue     bool      // a rotation was missed
	UnusedSince time.Time // made before that, and nothing is known that was done with it since
	Unknown     []string  // names of what must be unknown, all of them; see Unknowns
}

// InventoryOutput is one page. It may hold fewer keys than the limit, or none, although more follow: only an empty Next ends it.
type InventoryOutput struct {
	Rows    []InventoryRow
	Next    string
	Scanned int // keys that were looked at

	Since   time.Time // of the first audit record that the usage ledger knows: what was done before is not in it
	Through time.Time // of the last
	Access  bool      // the caller may see who may use and manage keys, and Rows say it
}

// InventoryRow is what is known of one key.
type InventoryRow struct {
	Key      kms.Key
	State    kms.State     // of the primary version; 0: it has none
	Versions []kms.Version // the newest, newest first, at most 20
	Rotation KeyRotation
	Use      LastUse
	Access   KeyAccess

	DataKeys        int // active managed data keys under it that the server keeps, at most 1,000 are counted
	OutsideDataKeys int // that others hold, registered by their fingerprint; likewise

	Unknown []string // what nobody has said or recorded: names out of Unknowns
}

// KeyRotation is how a key is rotated.
type KeyRotation struct {
	How     string    // RotatesBySchedule, RotatesByLimit, RotatesByBoth or RotatesByHand
	Last    time.Time // when its primary version became that
	Next    time.Time // when it is due; zero: not by date
	Overdue bool      // it was due more than an hour ago, and did not happen
}

// How keys are rotated.
const (
	RotatesBySchedule = "schedule"
	RotatesByLimit    = "limit" // of operations or bytes
	RotatesByBoth     = "schedule-and-limit"
	RotatesByHand     = "manual"
)

// LastUse is what the usage ledger says of a key.
type LastUse struct {
	Last time.Time // that something was done with it; zero: never, or not known
	Done uint64    // items
}

// KeyAccess is who could use and manage a key at some time and from somewhere: principals that hold a credential which stands.
type KeyAccess struct {
	Users, Managers         []string // by name, at most 64 of each
	UserCount, ManagerCount int
}

// What can be unknown of a key.
const (
	UnknownClass    = "class"    // no classification of the data that it protects
	UnknownOwner    = "owner"    // no label owner
	UnknownPurpose  = "purpose"  // neither a label purpose nor a description
	UnknownRotation = "rotation" // nothing says when it is to be rotated
	UnknownUse      = "use"      // older than the usage ledger, and not used since that began
	UnknownAccess   = "access"   // there are more credentials than are looked at
)

// Unknowns lists what can be unknown of a key.
func Unknowns() []string {
	return []string{UnknownClass, UnknownOwner, UnknownPurpose, UnknownRotation, UnknownUse, UnknownAccess}
}

// InventorySummaryInput asks for the numbers of a part of the keys; the caller adds the parts up.
type InventorySummaryInput struct {
	Filter InventoryFilter
	Page   string // the previous answer's Next
}

// InventorySummaryOutput counts the keys of one part. An empty Next ends it.
type InventorySummaryOutput struct {
	Keys      int
	Overdue   int
	NeverUsed int // of which it is known that nothing was ever done with them
	Class     map[string]int
	Algorithm map[string]int
	Switch    map[string]int
	Rotation  map[string]int // by how they are rotated
	Unknown   map[string]int // by what is unknown of them
	Next      string
	Scanned   int
}
