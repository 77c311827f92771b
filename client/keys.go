package client

import (
	"context"
	"iter"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
)

// Key is a key's metadata. Its JSON form is stable.
type Key struct {
	ID             string            `json:"id"`
	Namespace      string            `json:"namespace"`
	Name           string            `json:"name"`
	Aliases        []string          `json:"aliases,omitempty"`
	Algorithm      string            `json:"algorithm"`
	Usage          string            `json:"usage"`
	Origin         string            `json:"origin"`
	State          string            `json:"state"`
	PrimaryVersion uint32            `json:"primary_version"`
	LatestVersion  uint32            `json:"latest_version"`
	Description    string            `json:"description,omitempty"`
	Labels         map[string]string `json:"labels,omitempty"`
	CreatedAt      time.Time         `json:"created_at,omitzero"`
	ChangedAt      time.Time         `json:"changed_at,omitzero"`
	DestroyAt      time.Time         `json:"destroy_at,omitzero"`
	DestroyedAt    time.Time         `json:"destroyed_at,omitzero"`

	IrrecoverableAt time.Time `json:"irrecoverable_at,omitzero"` // since when no copy of the store brings a destroyed key back
	Revision        uint64    `json:"revision"`
	Bytes           uint32    `json:"bytes,omitempty"` // of each version's material, for HMAC keys
	Leaks           string    `json:"leaks,omitempty"` // what ciphertexts show, for deterministic algorithms

	Freeze             bool         `json:"freeze,omitempty"`              // while suspended, it does not process either
	ProcessDeactivated bool         `json:"process_deactivated,omitempty"` // deactivated versions go on processing
	Exportable         bool         `json:"exportable,omitempty"`          // may leave, wrapped
	DataClass          string       `json:"data_class,omitempty"`          // classification of the data that it protects
	Template           string       `json:"template,omitempty"`
	Cryptoperiod       Cryptoperiod `json:"cryptoperiod,omitzero"`
	RotatedAt          time.Time    `json:"rotated_at,omitzero"`
	RotateAt           time.Time    `json:"rotate_at,omitzero"`     // when it is due to be rotated; zero: by hand
	NextVersion        uint32       `json:"next_version,omitempty"` // the pre-active version that becomes the primary version when it is activated
	NextAt             time.Time    `json:"next_at,omitzero"`       // when that is; zero: by hand

	HomeRegion string       `json:"home_region,omitempty"` // where it was made, by a dialect that has regions; empty: it answers in all of them
	Replicas   []KeyReplica `json:"replicas,omitempty"`    // further regions in which a multi-Region key answers

	Versions []KeyVersion `json:"versions,omitempty"` // DescribeKey: the newest 20; after a change: the one concerned
}

// KeyReplica is what a multi-Region key has of its own in a region that is not its home.
type KeyReplica struct {
	Region      string            `json:"region"`
	State       string            `json:"state"`
	Description string            `json:"description,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	CreatedAt   time.Time         `json:"created_at,omitzero"`
	DestroyAt   time.Time         `json:"destroy_at,omitzero"`
}

// KeyVersion is one version of a key, without its material.
type KeyVersion struct {
	Version    uint32       `json:"version"`
	Algorithm  string       `json:"algorithm"`
	State      string       `json:"state"`
	Origin     string       `json:"origin"`
	Source     string       `json:"source,omitempty"`
	CreatedAt  time.Time    `json:"created_at,omitzero"`
	History    []Transition `json:"history,omitempty"`
	PublicKey  []byte       `json:"public_key,omitempty"` // DER SubjectPublicKeyInfo
	CheckValue []byte       `json:"check_value,omitempty"`

	ActivateAt   time.Time `json:"activate_at,omitzero"`
	DeactivateAt time.Time `json:"deactivate_at,omitzero"`
	RecallUntil  time.Time `json:"recall_until,omitzero"` // until when it processes although it is deactivated or archived
	ExpiresAt    time.Time `json:"expires_at,omitzero"`   // when imported material is forgotten
	Archived     bool      `json:"archived,omitempty"`    // its material is in the archive
}

// Cryptoperiod limits what one version protects. Zero fields set no limit.
type Cryptoperiod struct {
	EverySeconds  int64  `json:"every_seconds,omitempty"`  // between rotations
	JitterSeconds int64  `json:"jitter_seconds,omitempty"` // a rotation comes up to so much earlier
	Calendar      string `json:"calendar,omitempty"`       // instead: "monthly 1 03:00", "weekly sunday 02:30" or "yearly 01-15 00:00", in UTC
	Operations    uint64 `json:"operations,omitempty"`     // that protect
	Bytes         uint64 `json:"bytes,omitempty"`          // that are protected
}

// Transition is one dated step in the life of a version.
type Transition struct {
	State  string    `json:"state"`
	At     time.Time `json:"at,omitzero"`
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// CreateKeyInput asks for a key.
type CreateKeyInput struct {
	Name        string
	Algorithm   string // for example "aes-256-gcm"
	Usage       string // for example "encrypt"; empty where the algorithm serves one purpose: all but RSA
	Description string
	Labels      map[string]string
	Aliases     []string
	Bytes       uint32 // HMAC keys: bytes of key material, 16 to 512; 0: as long as the hash
	Import      bool   // it has no material until that is imported
	Exportable  bool   // its material may leave, wrapped; for ever; false, as for the other presets: as the template says, or not

	Dates              Dates // of the first version
	Freeze             bool  // while suspended, it does not process either
	ProcessDeactivated bool  // deactivated versions go on processing

	Template     string        // what the key is made by: it says what this request does not; empty: the template of DataClass, if it has one
	DataClass    string        // classification of the data that the key will protect
	Cryptoperiod *Cryptoperiod // nil: the template's, or none
}

// KeyFilter selects keys; zero fields select all.
type KeyFilter struct {
	NamePrefix string
	Algorithm  string
	Usage      string
	State      string
	Labels     map[string]string // all must be equal
}

// UpdateKeyInput changes a key's metadata. Nil and empty fields leave things as they are.
type UpdateKeyInput struct {
	Key           string
	Name          *string
	Description   *string
	DataClass     *string
	SetLabels     map[string]string
	RemoveLabels  []string
	AddAliases    []string
	RemoveAliases []string
	IfRevision    uint64 // 0: whatever revision; else CodeConflict if the key has changed since

	Freeze             *bool
	ProcessDeactivated *bool
}

// CreateKey makes a key with its first version.
func (c *Client) CreateKey(ctx context.Context, in CreateKeyInput, options ...Option) (Key, error) {
	m := &keyholdv1.CreateKeyRequest{
		Name: in.Name, Algorithm: in.Algorithm, Usage: in.Usage, Description: in.Description, Labels: in.Labels, Aliases: in.Aliases, Bytes: in.Bytes,
		Import: in.Import, Exportable: in.Exportable,
		ActivateAt: stamp(in.Dates.ActivateAt), PreActive: in.Dates.PreActive, DeactivateAt: stamp(in.Dates.DeactivateAt),
		Freeze: in.Freeze, ProcessDeactivated: in.ProcessDeactivated, Template: in.Template, DataClass: in.DataClass,
	}
	if p := in.Cryptoperiod; p != nil {
		if m.Cryptoperiod = periodMessage(*p); m.Cryptoperiod == nil {
			m.Cryptoperiod = &keyholdv1.Cryptoperiod{} // none, whatever the template says
		}
	}
	return keyOf(invoke(ctx, c, c.keys.CreateKey, m, changes, options))
}

// DescribeKey answers a key with its newest versions, at most 20. A key is named by id, name, or alias/NAME.
func (c *Client) DescribeKey(ctx context.Context, key string, options ...Option) (Key, error) {
	return keyOf(invoke(ctx, c, c.keys.DescribeKey, &keyholdv1.DescribeKeyRequest{Key: key}, reads, options))
}

// ListKeys goes through the keys that the caller may describe, in order of creation.
func (c *Client) ListKeys(ctx context.Context, f KeyFilter, options ...Option) iter.Seq2[Key, error] {
	return pages(func(token string) ([]Key, string, error) {
		res, err := invoke(ctx, c, c.keys.ListKeys, &keyholdv1.ListKeysRequest{
			NamePrefix: f.NamePrefix, Algorithm: f.Algorithm, Usage: f.Usage, State: f.State, Labels: f.Labels, PageToken: token,
		}, reads, options)
		return each(res.GetKeys(), toKey), res.GetNextPageToken(), err
	})
}

// ListVersions goes through the versions of a key, newest first.
func (c *Client) ListVersions(ctx context.Context, key string, options ...Option) iter.Seq2[KeyVersion, error] {
	return pages(func(token string) ([]KeyVersion, string, error) {
		res, err := invoke(ctx, c, c.keys.ListVersions, &keyholdv1.ListVersionsRequest{Key: key, PageToken: token}, reads, options)
		return each(res.GetVersions(), toVersion), res.GetNextPageToken(), err
	})
}

// UpdateKey changes a key's name, description, labels and aliases.
func (c *Client) UpdateKey(ctx context.Context, in UpdateKeyInput, options ...Option) (Key, error) {
	return keyOf(invoke(ctx, c, c.keys.UpdateKey, &keyholdv1.UpdateKeyRequest{
		Key: in.Key, Name: in.Name, Description: in.Description, DataClass: in.DataClass, SetLabels: in.SetLabels, RemoveLabels: in.RemoveLabels,
		AddAliases: in.AddAliases, RemoveAliases: in.RemoveAliases, IfRevision: in.IfRevision,
		Freeze: in.Freeze, ProcessDeactivated: in.ProcessDeactivated,
	}, changes, options))
}

// RotateKey makes a new primary version.
func (c *Client) RotateKey(ctx context.Context, key string, options ...Option) (Key, error) {
	return keyOf(invoke(ctx, c, c.keys.RotateKey, &keyholdv1.RotateKeyRequest{Key: key}, changes, options))
}

// EnableKey turns a disabled key on.
func (c *Client) EnableKey(ctx context.Context, key string, options ...Option) (Key, error) {
	return keyOf(invoke(ctx, c, c.keys.EnableKey, &keyholdv1.EnableKeyRequest{Key: key}, changes, options))
}

// DisableKey turns a key off.
func (c *Client) DisableKey(ctx context.Context, key string, options ...Option) (Key, error) {
	return keyOf(invoke(ctx, c, c.keys.DisableKey, &keyholdv1.DisableKeyRequest{Key: key}, changes, options))
}

// SuspendKey stops a key from protecting; it goes on processing.
func (c *Client) SuspendKey(ctx context.Context, key string, options ...Option) (Key, error) {
	return keyOf(invoke(ctx, c, c.keys.SuspendKey, &keyholdv1.SuspendKeyRequest{Key: key}, changes, options))
}

// ResumeKey lets a suspended key protect again.
func (c *Client) ResumeKey(ctx context.Context, key string, options ...Option) (Key, error) {
	return keyOf(invoke(ctx, c, c.keys.ResumeKey, &keyholdv1.ResumeKeyRequest{Key: key}, changes, options))
}

// ScheduleKeyDestruction starts the waiting time after which a key is destroyed. A window of 0 is the server's default
// of 30 days.
func (c *Client) ScheduleKeyDestruction(ctx context.Context, key string, window time.Duration, options ...Option) (Key, error) {
	req := &keyholdv1.ScheduleKeyDestructionRequest{Key: key}
	if window != 0 {
		req.Window = durationpb.New(window)
	}
	return keyOf(invoke(ctx, c, c.keys.ScheduleKeyDestruction, req, changes, options))
}

// CancelKeyDestruction stops a scheduled destruction.
func (c *Client) CancelKeyDestruction(ctx context.Context, key string, options ...Option) (Key, error) {
	return keyOf(invoke(ctx, c, c.keys.CancelKeyDestruction, &keyholdv1.CancelKeyDestructionRequest{Key: key}, changes, options))
}

func keyOf(res *keyholdv1.KeyResponse, err error) (Key, error) {
	if err != nil {
		return Key{}, err
	}
	k := toKey(res.GetKey())
	k.Versions = each(res.GetVersions(), toVersion)
	return k, nil
}

func toKey(k *keyholdv1.Key) Key {
	return Key{
		ID: k.GetId(), Namespace: k.GetNamespace(), Name: k.GetName(), Aliases: k.GetAliases(), Algorithm: k.GetAlgorithm(), Usage: k.GetUsage(),
		Origin: k.GetOrigin(), State: k.GetState(), PrimaryVersion: k.GetPrimaryVersion(), LatestVersion: k.GetLatestVersion(),
		Description: k.GetDescription(), Labels: k.GetLabels(), CreatedAt: timeOf(k.GetCreatedAt()), ChangedAt: timeOf(k.GetChangedAt()),
		DestroyAt: timeOf(k.GetDestroyAt()), DestroyedAt: timeOf(k.GetDestroyedAt()), IrrecoverableAt: timeOf(k.GetIrrecoverableAt()), Revision: k.GetRevision(),
		Bytes: k.GetBytes(), Leaks: k.GetLeaks(),
		Freeze: k.GetFreeze(), ProcessDeactivated: k.GetProcessDeactivated(), Exportable: k.GetExportable(), DataClass: k.GetDataClass(), Template: k.GetTemplate(),
		Cryptoperiod: toPeriod(k.GetCryptoperiod()), RotatedAt: timeOf(k.GetRotatedAt()), RotateAt: timeOf(k.GetRotateAt()),
		NextVersion: k.GetNextVersion(), NextAt: timeOf(k.GetNextAt()),
		HomeRegion: k.GetHomeRegion(), Replicas: each(k.GetReplicas(), toReplica),
	}
}

func toReplica(r *keyholdv1.KeyReplica) KeyReplica {
	return KeyReplica{Region: r.GetRegion(), State: r.GetState(), Description: r.GetDescription(), Labels: r.GetLabels(),
		CreatedAt: timeOf(r.GetCreatedAt()), DestroyAt: timeOf(r.GetDestroyAt())}
}

func toPeriod(p *keyholdv1.Cryptoperiod) Cryptoperiod {
	return Cryptoperiod{
		EverySeconds: p.GetEvery().GetSeconds(), JitterSeconds: p.GetJitter().GetSeconds(), Calendar: p.GetCalendar(), Operations: p.GetOperations(), Bytes: p.GetBytes(),
	}
}

func toVersion(v *keyholdv1.KeyVersion) KeyVersion {
	return KeyVersion{
		Version: v.GetVersion(), Algorithm: v.GetAlgorithm(), State: v.GetState(), Origin: v.GetOrigin(), Source: v.GetSource(),
		CreatedAt: timeOf(v.GetCreatedAt()), PublicKey: v.GetPublicKey(), CheckValue: v.GetCheckValue(),
		ActivateAt: timeOf(v.GetActivateAt()), DeactivateAt: timeOf(v.GetDeactivateAt()), RecallUntil: timeOf(v.GetRecallUntil()), ExpiresAt: timeOf(v.GetExpiresAt()),
		Archived: v.GetArchived(),
		History: each(v.GetHistory(), func(t *keyholdv1.Transition) Transition {
			return Transition{State: t.GetState(), At: timeOf(t.GetAt()), By: t.GetBy(), Reason: t.GetReason()}
		}),
	}
}
