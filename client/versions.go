package client

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
)

// Dates are when a new version begins and ends to protect and process, in whole seconds. The zero value: at once, and never.
type Dates struct {
	ActivateAt   time.Time // pre-active until then
	PreActive    bool      // pre-active until it is activated by hand
	DeactivateAt time.Time
}

// Exposure is the window of time in which a compromised version could protect.
type Exposure struct {
	Version uint32    `json:"version"`
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	// What it protected, by the usage ledger.
	Made  uint64    `json:"made,omitempty"` // each item of a batch counts
	Bytes uint64    `json:"bytes,omitempty"`
	First time.Time `json:"first,omitzero"` // zero: never
	Last  time.Time `json:"last,omitzero"`
	// Managed data keys under it, kept by the server and held by others. Counted for the newest 64 versions.
	DataKeys uint64 `json:"data_keys,omitempty"`
	Outside  uint64 `json:"outside_data_keys,omitempty"`
}

// Compromise is a key of which versions were marked as compromised.
type Compromise struct {
	Key                // its versions are those that are marked, at most 64
	Exposed []Exposure `json:"exposed,omitempty"`
	// Evidence of the usage ledger, for callers that may read it.
	Since      time.Time   `json:"since,omitzero"`       // of the first audit record that was counted: what was before is not known
	Through    time.Time   `json:"through,omitzero"`     // of the last one
	Users      []UsageUser `json:"users,omitempty"`      // who used the exposed versions, for anything; latest use first
	Dependants []Dependant `json:"dependants,omitempty"` // what names the key
	Unknown    []string    `json:"unknown,omitempty"`    // what cannot be known
}

// RotateKeyAt makes a new version that becomes the primary version when it is activated: at its date or, if it is pre-active without one,
// by ActivateVersion.
func (c *Client) RotateKeyAt(ctx context.Context, key string, d Dates, options ...Option) (Key, error) {
	return keyOf(invoke(ctx, c, c.keys.RotateKey, &keyholdv1.RotateKeyRequest{
		Key: key, ActivateAt: stamp(d.ActivateAt), PreActive: d.PreActive, DeactivateAt: stamp(d.DeactivateAt),
	}, changes, options))
}

// ActivateVersion makes a pre-active version active, or sets the date at which it becomes so; a zero time is now.
func (c *Client) ActivateVersion(ctx context.Context, key string, version uint32, at time.Time, options ...Option) (Key, error) {
	return keyOf(invoke(ctx, c, c.keys.ActivateVersion, &keyholdv1.ActivateVersionRequest{Key: key, Version: version, At: stamp(at)}, changes, options))
}

// ActivateVersionByHand removes a pre-active version's date: it waits for ActivateVersion.
func (c *Client) ActivateVersionByHand(ctx context.Context, key string, version uint32, options ...Option) (Key, error) {
	return keyOf(invoke(ctx, c, c.keys.ActivateVersion, &keyholdv1.ActivateVersionRequest{Key: key, Version: version, ByHand: true}, changes, options))
}

// SuspendVersion stops one version from protecting; it goes on processing unless the key's preset is freeze.
func (c *Client) SuspendVersion(ctx context.Context, key string, version uint32, options ...Option) (Key, error) {
	return keyOf(invoke(ctx, c, c.keys.SuspendVersion, &keyholdv1.SuspendVersionRequest{Key: key, Version: version}, changes, options))
}

// ResumeVersion ends the suspension of a version.
func (c *Client) ResumeVersion(ctx context.Context, key string, version uint32, options ...Option) (Key, error) {
	return keyOf(invoke(ctx, c, c.keys.ResumeVersion, &keyholdv1.ResumeVersionRequest{Key: key, Version: version}, changes, options))
}

// DeactivateVersion ends the use of one version.
func (c *Client) DeactivateVersion(ctx context.Context, key string, version uint32, options ...Option) (Key, error) {
	return c.DeactivateVersionAt(ctx, key, version, time.Time{}, options...)
}

// DeactivateVersionAt sets the date at which the use of one version ends; a zero time is now.
func (c *Client) DeactivateVersionAt(ctx context.Context, key string, version uint32, at time.Time, options ...Option) (Key, error) {
	return keyOf(invoke(ctx, c, c.keys.DeactivateVersion, &keyholdv1.DeactivateVersionRequest{Key: key, Version: version, At: stamp(at)}, changes, options))
}

// DeactivateVersionNever removes a version's date of deactivation.
func (c *Client) DeactivateVersionNever(ctx context.Context, key string, version uint32, options ...Option) (Key, error) {
	return keyOf(invoke(ctx, c, c.keys.DeactivateVersion, &keyholdv1.DeactivateVersionRequest{Key: key, Version: version, Never: true}, changes, options))
}

// ArchiveVersion puts a deactivated version away.
func (c *Client) ArchiveVersion(ctx context.Context, key string, version uint32, options ...Option) (Key, error) {
	return keyOf(invoke(ctx, c, c.keys.ArchiveVersion, &keyholdv1.ArchiveVersionRequest{Key: key, Version: version}, changes, options))
}

// RecallVersion lets a deactivated or archived version process for a while; 0 is an hour. Others have to approve it.
func (c *Client) RecallVersion(ctx context.Context, key string, version uint32, period time.Duration, options ...Option) (Key, error) {
	req := &keyholdv1.RecallVersionRequest{Key: key, Version: version}
	if period != 0 {
		req.Period = durationpb.New(period)
	}
	return keyOf(invoke(ctx, c, c.keys.RecallVersion, req, changes, options))
}

// EndRecall ends the recall that is open.
func (c *Client) EndRecall(ctx context.Context, key string, version uint32, options ...Option) (Key, error) {
	return keyOf(invoke(ctx, c, c.keys.RecallVersion, &keyholdv1.RecallVersionRequest{Key: key, Version: version, End: true}, changes, options))
}

// CompromiseVersions marks versions, at most 64, as compromised; without any named, every version of the key. If the primary version is among
// them, the key has a new one.
func (c *Client) CompromiseVersions(ctx context.Context, key string, versions []uint32, options ...Option) (Compromise, error) {
	res, err := invoke(ctx, c, c.keys.CompromiseVersion, &keyholdv1.CompromiseVersionRequest{Key: key, Versions: versions, All: len(versions) == 0}, changes, options)
	if err != nil {
		return Compromise{}, err
	}
	out := Compromise{Key: toKey(res.GetKey())}
	out.Versions = each(res.GetVersions(), toVersion)
	out.Exposed = each(res.GetExposed(), func(x *keyholdv1.Exposure) Exposure {
		return Exposure{
			Version: x.GetVersion(), From: timeOf(x.GetFrom()), To: timeOf(x.GetTo()), Made: x.GetMade(), Bytes: x.GetBytes(), First: timeOf(x.GetFirst()),
			Last: timeOf(x.GetLast()), DataKeys: x.GetDataKeys(), Outside: x.GetOutsideDataKeys(),
		}
	})
	out.Since, out.Through, out.Unknown = timeOf(res.GetSince()), timeOf(res.GetThrough()), res.GetUnknown()
	out.Users = each(res.GetUsers(), func(u *keyholdv1.ExposedUser) UsageUser {
		return UsageUser{
			Name: u.GetName(), Namespace: u.GetNamespace(), Alias: u.GetAlias(), Others: u.GetOthers(), First: timeOf(u.GetFirst()), Last: timeOf(u.GetLast()),
			Done: u.GetDone(), Refused: u.GetRefused(),
		}
	})
	out.Dependants = each(res.GetDependants(), func(d *keyholdv1.KeyDependant) Dependant { return Dependant{Kind: d.GetKind(), Name: d.GetName()} })
	return out, nil
}
