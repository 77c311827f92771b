package client

import (
	"context"
	"iter"
	"time"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
)

// InventoryFilter selects keys; what is not set selects all.
type InventoryFilter struct {
	NamePrefix   string
	Algorithm    string
	Usage        string
	State        string // of the key's switch
	VersionState string // of the primary version
	Origin       string
	Labels       map[string]string // all must be equal; the owner is label "owner"
	DataClass    string
	Template     string
	Overdue      bool      // a rotation was missed
	UnusedSince  time.Time // made before that, and nothing is known to have been done with it since
	Unknown      []string  // all of these are unknown: "class", "owner", "purpose", "rotation", "use" or "access"
}

// InventoryKey is what is known of a key. Its JSON form is stable.
type InventoryKey struct {
	Key          Key    `json:"key"`                     // with its newest 20 versions, without their history
	VersionState string `json:"version_state,omitempty"` // of the primary version

	Rotation     string    `json:"rotation"` // "schedule", "limit", "schedule-and-limit" or "manual"
	RotatedAt    time.Time `json:"rotated_at,omitzero"`
	NextRotation time.Time `json:"next_rotation,omitzero"`
	Overdue      bool      `json:"overdue"`

	LastUsed time.Time `json:"last_used,omitzero"` // zero: never, or that is not known: then Unknown has "use"
	Uses     uint64    `json:"uses"`               // that are counted, each item of a batch

	AccessShown  bool     `json:"access_shown"`       // the caller may see who may use and manage the key
	Users        []string `json:"users,omitempty"`    // who could use it at some time and from somewhere, at most 64
	UserCount    uint32   `json:"user_count"`         // how many there are
	Managers     []string `json:"managers,omitempty"` // who could manage it
	ManagerCount uint32   `json:"manager_count"`

	DataKeys        uint32   `json:"data_keys"`         // active managed ones that the server keeps; 1,000 stands for that and more
	OutsideDataKeys uint32   `json:"outside_data_keys"` // that others hold, registered by their fingerprint
	Unknown         []string `json:"unknown,omitempty"`
}

// InventoryProgress tells how far a walk through the inventory is.
type InventoryProgress struct {
	Scanned uint64    // keys that the server looked at
	Since   time.Time // of the first audit record that uses are counted from: what was done before is not known
	Through time.Time // of the last one
}

// ListInventory goes through what is known of the keys that the caller may describe, in order of creation. It holds no more than a page in memory. progress,
// where it is not nil, is told after each page; a page can be empty although more follow.
func (c *Client) ListInventory(ctx context.Context, f InventoryFilter, progress func(InventoryProgress), options ...Option) iter.Seq2[InventoryKey, error] {
	return func(yield func(InventoryKey, error) bool) {
		var p InventoryProgress
		pages(func(token string) ([]InventoryKey, string, error) {
			res, err := invoke(ctx, c, c.inventory.ListInventory, &keyholdv1.ListInventoryRequest{Filter: fromInventoryFilter(f), PageToken: token}, reads, options)
			if err != nil {
				return nil, "", err
			}
			p.Scanned += uint64(res.GetScanned())
			p.Through = timeOf(res.GetThrough())
			if token == "" {
				p.Since = timeOf(res.GetSince())
			}
			if progress != nil {
				progress(p)
			}
			return each(res.GetKeys(), func(k *keyholdv1.InventoryKey) InventoryKey { return toInventoryKey(k, res.GetAccessShown()) }), res.GetNextPageToken(), nil
		})(yield)
	}
}

func fromInventoryFilter(f InventoryFilter) *keyholdv1.InventoryFilter {
	return &keyholdv1.InventoryFilter{
		NamePrefix: f.NamePrefix, Algorithm: f.Algorithm, Usage: f.Usage, State: f.State, VersionState: f.VersionState, Origin: f.Origin, Labels: f.Labels,
		DataClass: f.DataClass, Template: f.Template, Overdue: f.Overdue, UnusedSince: stamp(f.UnusedSince), Unknown: f.Unknown,
	}
}

func toInventoryKey(k *keyholdv1.InventoryKey, shown bool) InventoryKey {
	row := InventoryKey{
		Key: toKey(k.GetKey()), VersionState: k.GetVersionState(),
		Rotation: k.GetRotation(), RotatedAt: timeOf(k.GetRotatedAt()), NextRotation: timeOf(k.GetNextRotation()), Overdue: k.GetOverdue(),
		LastUsed: timeOf(k.GetLastUsed()), Uses: k.GetUses(),
		AccessShown: shown, Users: k.GetUsers(), UserCount: k.GetUserCount(), Managers: k.GetManagers(), ManagerCount: k.GetManagerCount(),
		DataKeys: k.GetDataKeys(), OutsideDataKeys: k.GetOutsideDataKeys(), Unknown: k.GetUnknown(),
	}
	row.Key.Versions = each(k.GetVersions(), toVersion)
	return row
}

// InventorySummary counts keys by what is known of them. Its JSON form is stable.
type InventorySummary struct {
	Keys        uint64            `json:"keys"`
	Overdue     uint64            `json:"overdue"`
	NeverUsed   uint64            `json:"never_used"` // of which that is known
	ByClass     map[string]uint64 `json:"by_class"`   // the empty name: no class
	ByAlgorithm map[string]uint64 `json:"by_algorithm"`
	ByState     map[string]uint64 `json:"by_state"`
	ByRotation  map[string]uint64 `json:"by_rotation"`
	Unknown     map[string]uint64 `json:"unknown"` // by what is unknown of them
}

// The classes that a summary tells apart; OtherClasses stands for all beyond.
const (
	maxClasses   = 10_000
	OtherClasses = "(others)"
)

// SummarizeInventory counts the keys that a filter selects by what is known of them. progress, where it is not nil, is told how many keys were looked at.
func (c *Client) SummarizeInventory(ctx context.Context, f InventoryFilter, progress func(scanned uint64), options ...Option) (InventorySummary, error) {
	sum := InventorySummary{ByClass: map[string]uint64{}, ByAlgorithm: map[string]uint64{}, ByState: map[string]uint64{}, ByRotation: map[string]uint64{}, Unknown: map[string]uint64{}}
	scanned := uint64(0)
	for token := ""; ; {
		res, err := invoke(ctx, c, c.inventory.SummarizeInventory, &keyholdv1.SummarizeInventoryRequest{Filter: fromInventoryFilter(f), PageToken: token}, reads, options)
		if err != nil {
			return InventorySummary{}, err
		}
		sum.Keys, sum.Overdue, sum.NeverUsed = sum.Keys+res.GetKeys(), sum.Overdue+res.GetOverdue(), sum.NeverUsed+res.GetNeverUsed()
		addCounts(sum.ByClass, res.GetByClass())
		addCounts(sum.ByAlgorithm, res.GetByAlgorithm())
		addCounts(sum.ByState, res.GetByState())
		addCounts(sum.ByRotation, res.GetByRotation())
		addCounts(sum.Unknown, res.GetUnknown())
		if scanned += uint64(res.GetScanned()); progress != nil {
			progress(scanned)
		}
		if token = res.GetNextPageToken(); token == "" {
			return sum, nil
		}
	}
}

func addCounts(to, from map[string]uint64) {
	for name, n := range from {
		if _, ok := to[name]; !ok && len(to) >= maxClasses {
			name = OtherClasses
		}
		to[name] += n
	}
}
