package client

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
)

// Usage is what the audit log says of a key's use. Its JSON form is stable.
type Usage struct {
	KeyID    string         `json:"key_id"`
	Name     string         `json:"name"`
	Since    time.Time      `json:"since,omitzero"`   // of the first record that was counted: what was before is not known
	Through  time.Time      `json:"through,omitzero"` // of the last one
	Versions []VersionUsage `json:"versions,omitempty"`
}

// VersionUsage is the use of one version. Version 0 stands for requests that reached no version: mostly those that were refused because of the key.
type VersionUsage struct {
	Version    uint32           `json:"version"`
	First      time.Time        `json:"first,omitzero"` // that something was done with it; zero: never
	Last       time.Time        `json:"last,omitzero"`
	Done       uint64           `json:"done"` // each item of a batch counts
	Bytes      uint64           `json:"bytes"`
	Refused    uint64           `json:"refused"`
	Operations []UsageOperation `json:"operations,omitempty"` // over all principals
	Users      []UsageUser      `json:"users,omitempty"`      // latest use first
}

// UsageUser is one principal's use.
type UsageUser struct {
	Name       string           `json:"name,omitempty"` // empty: erased
	Namespace  string           `json:"namespace,omitempty"`
	Alias      []byte           `json:"alias,omitempty"`  // keyed hash that audit records have for the principal
	Others     bool             `json:"others,omitempty"` // all principals that are not told apart
	First      time.Time        `json:"first,omitzero"`   // that it did something; zero: never
	Last       time.Time        `json:"last,omitzero"`
	Done       uint64           `json:"done"`
	Refused    uint64           `json:"refused"`
	Operations []UsageOperation `json:"operations,omitempty"`
}

// UsageOperation is one kind of use.
type UsageOperation struct {
	Action  string    `json:"action"`
	Dialect string    `json:"dialect,omitempty"` // empty: several
	Code    string    `json:"code,omitempty"`    // why it was refused or failed, or "various"; empty: it was done
	Count   uint64    `json:"count"`             // each item of a batch counts
	Bytes   uint64    `json:"bytes"`
	First   time.Time `json:"first,omitzero"`
	Last    time.Time `json:"last,omitzero"`
}

// ReadUsage answers what a key, or one version of it (0: all), was used for. Everything is counted that was recorded before.
func (c *Client) ReadUsage(ctx context.Context, key string, version uint32, options ...Option) (Usage, error) {
	var all Usage
	for token := ""; ; {
		res, err := invoke(ctx, c, c.usage.ReadUsage, &keyholdv1.ReadUsageRequest{Key: key, Version: version, PageToken: token}, reads, options)
		if err != nil {
			return Usage{}, err
		}
		all.KeyID, all.Name, all.Through = res.GetKeyId(), res.GetName(), timeOf(res.GetThrough())
		if token == "" {
			all.Since = timeOf(res.GetSince())
		}
		all.Versions = append(all.Versions, each(res.GetVersions(), toVersionUsage)...)
		if token = res.GetNextPageToken(); token == "" {
			return all, nil
		}
	}
}

func toVersionUsage(v *keyholdv1.VersionUsage) VersionUsage {
	return VersionUsage{
		Version: v.GetVersion(), First: timeOf(v.GetFirst()), Last: timeOf(v.GetLast()), Done: v.GetDone(), Bytes: v.GetBytes(), Refused: v.GetRefused(),
		Operations: each(v.GetOperations(), toUsageOperation), Users: each(v.GetUsers(), toUsageUser),
	}
}

func toUsageUser(u *keyholdv1.UsageUser) UsageUser {
	return UsageUser{
		Name: u.GetName(), Namespace: u.GetNamespace(), Alias: u.GetAlias(), Others: u.GetOthers(), First: timeOf(u.GetFirst()), Last: timeOf(u.GetLast()),
		Done: u.GetDone(), Refused: u.GetRefused(), Operations: each(u.GetOperations(), toUsageOperation),
	}
}

func toUsageOperation(o *keyholdv1.UsageOperation) UsageOperation {
	return UsageOperation{
		Action: o.GetAction(), Dialect: o.GetDialect(), Code: o.GetCode(), Count: o.GetCount(), Bytes: o.GetBytes(), First: timeOf(o.GetFirst()), Last: timeOf(o.GetLast()),
	}
}

// UsageRebuilt says what a usage ledger that is made anew knows: what was counted from Was until From is forgotten, if that is later.
type UsageRebuilt struct {
	Was  time.Time `json:"was,omitzero"`  // of the first audit record that the ledger counted; zero: not known
	From time.Time `json:"from,omitzero"` // of the oldest audit record that there is
}

// RebuildUsage has the server forget the usage ledger and count it anew from all the audit records there are. ListJobs tells how far it is (count-key-uses); until
// then, what goes by the ledger is refused as busy.
func (c *Client) RebuildUsage(ctx context.Context, options ...Option) (UsageRebuilt, error) {
	res, err := invoke(ctx, c, c.admin.RebuildUsage, &keyholdv1.RebuildUsageRequest{}, changes, options)
	return UsageRebuilt{Was: timeOf(res.GetWas()), From: timeOf(res.GetFrom())}, err
}

// Assessment is a report of what the destruction of a key would reach. The server keeps the newest of each key.
type Assessment struct {
	KeyID      string            `json:"key_id"`
	Name       string            `json:"name"`
	Namespace  string            `json:"namespace"`
	State      string            `json:"state"`
	At         time.Time         `json:"at,omitzero"`
	By         string            `json:"by"`
	Digest     []byte            `json:"digest"`           // SHA-256; the audit record of a destruction names it
	Since      time.Time         `json:"since,omitzero"`   // of the first audit record that was counted: what was before is not known
	Through    time.Time         `json:"through,omitzero"` // of the last one
	First      time.Time         `json:"first,omitzero"`   // use; zero: never
	Last       time.Time         `json:"last,omitzero"`
	Done       uint64            `json:"done"`
	Refused    uint64            `json:"refused"`
	Users      []UsageUser       `json:"users,omitempty"`  // latest use first
	Others     uint64            `json:"others,omitempty"` // uses by principals that are not told apart
	Versions   []AssessedVersion `json:"versions,omitempty"`
	More       bool              `json:"more_versions,omitempty"`
	DataKeys   uint64            `json:"data_keys"`          // managed ones that the server keeps
	Outside    uint64            `json:"outside_data_keys"`  // that others hold, registered by their fingerprint
	AtLeast    bool              `json:"at_least,omitempty"` // counting data keys ended at a limit
	Dependants []Dependant       `json:"dependants,omitempty"`
	PublicKeys uint64            `json:"public_keys"` // times that a public half was read
	Exports    uint64            `json:"exports"`     // copies of its material that left, wrapped
	Backups    uint64            `json:"backups"`     // copies of the store that left through the server and may hold the key, at most
	LastBackup time.Time         `json:"last_backup,omitzero"`
	Unknown    []string          `json:"unknown,omitempty"` // what cannot be known
}

// AssessedVersion is what is known of one version.
type AssessedVersion struct {
	Version  uint32    `json:"version"`
	Last     time.Time `json:"last,omitzero"` // use; zero: never
	Done     uint64    `json:"done"`
	DataKeys uint64    `json:"data_keys"`
	Outside  uint64    `json:"outside_data_keys"`
}

// Dependant is something that names a key.
type Dependant struct {
	Kind string `json:"kind"` // "policy" or "import-token"
	Name string `json:"name"`
}

// AssessKey makes, stores and answers a report of what the destruction of a key would reach. ScheduleKeyDestruction asks for one of the last 24 hours.
func (c *Client) AssessKey(ctx context.Context, key string, options ...Option) (Assessment, error) {
	a, err := invoke(ctx, c, c.usage.AssessKey, &keyholdv1.AssessKeyRequest{Key: key}, changes, options)
	if err != nil {
		return Assessment{}, err
	}
	return Assessment{
		KeyID: a.GetKeyId(), Name: a.GetName(), Namespace: a.GetNamespace(), State: a.GetState(), At: timeOf(a.GetAt()), By: a.GetBy(), Digest: a.GetDigest(),
		Since: timeOf(a.GetSince()), Through: timeOf(a.GetThrough()), First: timeOf(a.GetFirst()), Last: timeOf(a.GetLast()), Done: a.GetDone(), Refused: a.GetRefused(),
		Users: each(a.GetUsers(), toUsageUser), Others: a.GetOthers(), More: a.GetMoreVersions(), DataKeys: a.GetDataKeys(), Outside: a.GetOutsideDataKeys(), AtLeast: a.GetAtLeast(),
		Versions: each(a.GetVersions(), func(v *keyholdv1.AssessedVersion) AssessedVersion {
			return AssessedVersion{Version: v.GetVersion(), Last: timeOf(v.GetLast()), Done: v.GetDone(), DataKeys: v.GetDataKeys(), Outside: v.GetOutsideDataKeys()}
		}),
		Dependants: each(a.GetDependants(), func(d *keyholdv1.Dependant) Dependant { return Dependant{Kind: d.GetKind(), Name: d.GetName()} }),
		PublicKeys: a.GetPublicKeys(), Exports: a.GetExports(), Backups: a.GetBackups(), LastBackup: timeOf(a.GetLastBackup()), Unknown: a.GetUnknown(),
	}, nil
}

// RetireInput asks for the end of a version that nothing needs any more.
type RetireInput struct {
	Key     string
	Version uint32
	Window  time.Duration // in which nobody may have used it; 0: 30 days
	Force   bool          // whatever is left: takes approvals
}

// Retirement is whether a version may be retired, with the evidence.
type Retirement struct {
	Key           Key         `json:"key"`
	Version       uint32      `json:"version"`
	State         string      `json:"state"` // when it was looked at
	Retirable     bool        `json:"retirable"`
	Against       []string    `json:"against,omitempty"` // why not
	WindowSeconds int64       `json:"window_seconds"`
	Since         time.Time   `json:"since,omitzero"`   // of the first audit record that was counted
	Through       time.Time   `json:"through,omitzero"` // of the last one
	Last          time.Time   `json:"last,omitzero"`    // use; zero: never
	Users         []UsageUser `json:"users,omitempty"`  // within the window
	DataKeys      uint64      `json:"data_keys"`
	Outside       uint64      `json:"outside_data_keys"`
	Unknown       []string    `json:"unknown,omitempty"`
}

// CheckRetirement answers whether a version may be retired, with the evidence. It changes nothing.
func (c *Client) CheckRetirement(ctx context.Context, in RetireInput, options ...Option) (Retirement, error) {
	return toRetirement(invoke(ctx, c, c.usage.CheckRetirement, fromRetireInput(in), reads, options))
}

// RetireVersion deactivates a version of which nothing is known to be left: CodeResidue if something is.
func (c *Client) RetireVersion(ctx context.Context, in RetireInput, options ...Option) (Retirement, error) {
	return toRetirement(invoke(ctx, c, c.usage.RetireVersion, fromRetireInput(in), changes, options))
}

func fromRetireInput(in RetireInput) *keyholdv1.RetireVersionRequest {
	req := &keyholdv1.RetireVersionRequest{Key: in.Key, Version: in.Version, Force: in.Force}
	if in.Window != 0 {
		req.Window = durationpb.New(in.Window)
	}
	return req
}

func toRetirement(r *keyholdv1.RetireVersionResponse, err error) (Retirement, error) {
	if err != nil {
		return Retirement{}, err
	}
	k := toKey(r.GetKey())
	k.Versions = each(r.GetVersions(), toVersion)
	return Retirement{
		Key: k, Version: r.GetVersion(), State: r.GetState(), Retirable: r.GetRetirable(), Against: r.GetAgainst(), WindowSeconds: r.GetWindow().GetSeconds(),
		Since: timeOf(r.GetSince()), Through: timeOf(r.GetThrough()), Last: timeOf(r.GetLast()), Users: each(r.GetUsers(), toUsageUser),
		DataKeys: r.GetDataKeys(), Outside: r.GetOutsideDataKeys(), Unknown: r.GetUnknown(),
	}, nil
}

// Observation names the callers of a key.
type Observation struct {
	KeyID     string      `json:"key_id"`
	Name      string      `json:"name"`
	Pending   bool        `json:"pending_destruction"` // the callers were refused because of it; otherwise they use the key
	DestroyAt time.Time   `json:"destroy_at,omitzero"`
	Since     time.Time   `json:"since,omitzero"`
	Through   time.Time   `json:"through,omitzero"` // of the last audit record that was counted
	Callers   []UsageUser `json:"callers,omitempty"`
}

// ObserveKey names everybody who was refused because a key is pending destruction; before that, everybody who uses it. A zero time stands for when the
// destruction was asked for, or the last day.
func (c *Client) ObserveKey(ctx context.Context, key string, since time.Time, options ...Option) (Observation, error) {
	req := &keyholdv1.ObserveKeyRequest{Key: key}
	if !since.IsZero() {
		req.Since = timestamppb.New(since)
	}
	o, err := invoke(ctx, c, c.usage.ObserveKey, req, reads, options)
	if err != nil {
		return Observation{}, err
	}
	return Observation{
		KeyID: o.GetKeyId(), Name: o.GetName(), Pending: o.GetPendingDestruction(), DestroyAt: timeOf(o.GetDestroyAt()), Since: timeOf(o.GetSince()),
		Through: timeOf(o.GetThrough()), Callers: each(o.GetCallers(), toUsageUser),
	}, nil
}
