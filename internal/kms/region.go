package kms

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Limits of regions.
const (
	MaxRegion   = 32 // bytes of a region's name
	MaxReplicas = 32 // of one key
)

// Replica is what a multi-Region key has of its own in a region that is not its home: its switch, and what is said about it. Material, versions,
// names and policies are the key's, whatever the region.
type Replica struct {
	Region      string            `json:"region"`
	Switch      Switch            `json:"switch"`
	Before      Switch            `json:"before,omitempty"`
	DestroyAt   time.Time         `json:"destroy_at,omitzero"`
	Description string            `json:"desc,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Created     time.Time         `json:"created"`
}

// CheckRegion checks the form of a region's name: two or more parts of [a-z0-9] with '-' between them, at most MaxRegion bytes.
func CheckRegion(s string) error {
	ok := len(s) <= MaxRegion && strings.Contains(s, "-")
	for part := range strings.SplitSeq(s, "-") {
		ok = ok && part != "" && strings.Trim(part, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
	}
	if !ok {
		return Errorf(CodeBadName, "%q is not the name of a region: want 3 to %d of a-z and 0-9, with '-' between its parts", clip(s), MaxRegion)
	}
	return nil
}

// In tells whether the key answers in a region. Keys without a home do everywhere, as do all keys for calls that come from no region.
func (k *Key) In(region string) bool {
	return region == "" || k.Region == "" || region == k.Region || k.replica(region) >= 0
}

func (k *Key) replica(region string) int {
	return slices.IndexFunc(k.Replicas, func(r Replica) bool { return r.Region == region })
}

// Homely tells whether a call from a region is about the key itself, and not about one of its replicas.
func (k *Key) Homely(region string) bool { return region == "" || k.Region == "" || region == k.Region }

// SwitchIn is the position of the switch that counts in a region in which the key answers. What a replica has not of its own decides for all: material that
// is missing or destroyed is so everywhere.
func (k *Key) SwitchIn(region string) Switch {
	if k.Homely(region) || k.Switch == PendingImport || k.Switch == DestroyedKey {
		return k.Switch
	}
	if i := k.replica(region); i >= 0 {
		return k.Replicas[i].Switch
	}
	return DestroyedKey
}

// SwitchNow is SwitchIn for the region as which the key stands.
func (k *Key) SwitchNow() Switch {
	if i := k.replica(k.Stands); i >= 0 {
		if home := k.Replicas[i].Switch; home == PendingImport || home == DestroyedKey {
			return home
		}
	}
	return k.Switch
}

// Stand shows the key as it is in a region: what a replica has of its own changes places with what the key itself has. A key that stands elsewhere
// goes home first, so that Stand(k.Region), or Stand(""), undoes it. It shares no replica with what it was made from.
func (k *Key) Stand(region string) {
	if k.Stands != "" {
		k.swap(k.Stands)
		k.Stands = ""
	}
	if !k.Homely(region) && k.replica(region) >= 0 {
		k.swap(region)
		k.Stands = region
	}
}

func (k *Key) swap(region string) {
	k.Replicas = slices.Clone(k.Replicas)
	r := &k.Replicas[k.replica(region)]
	k.Switch, r.Switch = r.Switch, k.Switch
	k.Before, r.Before = r.Before, k.Before
	k.DestroyAt, r.DestroyAt = r.DestroyAt, k.DestroyAt
	k.Description, r.Description = r.Description, k.Description
	k.Labels, r.Labels = r.Labels, k.Labels
	k.Created, r.Created = r.Created, k.Created
}

// Replicate gives the key a replica. The caller has checked that it can have one there.
func (k *Key) Replicate(r Replica) {
	r.Labels = maps.Clone(r.Labels)
	k.Replicas = append(slices.Clone(k.Replicas), r)
	slices.SortFunc(k.Replicas, func(a, b Replica) int { return strings.Compare(a.Region, b.Region) })
}

// Rehome makes the region of a replica the key's home; its home before becomes a replica. What each has of its own stays where it is.
func (k *Key) Rehome(region string) {
	k.Stand("")
	k.swap(region)
	k.Replicas[k.replica(region)].Region, k.Region = k.Region, region
	slices.SortFunc(k.Replicas, func(a, b Replica) int { return strings.Compare(a.Region, b.Region) })
}
