package client

import (
	"context"
	"iter"
	"time"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
)

// ManagedDataKey is a data key that the server knows of. Its JSON form is stable.
type ManagedDataKey struct {
	ID          string            `json:"id"`
	KeyID       string            `json:"key_id"`
	Name        string            `json:"name,omitempty"`
	State       string            `json:"state"` // active or revoked
	Version     uint32            `json:"version"`
	Algorithm   string            `json:"algorithm,omitempty"`
	Bytes       uint32            `json:"bytes,omitempty"`
	Ciphertext  []byte            `json:"ciphertext,omitempty"`  // not in lists
	Fingerprint []byte            `json:"fingerprint,omitempty"` // SHA-256 of a ciphertext that is held elsewhere
	Context     Context           `json:"context,omitempty"`
	AAD         []byte            `json:"aad,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	CreatedAt   time.Time         `json:"created_at,omitzero"`
	CreatedBy   string            `json:"created_by"`
	Rewraps     uint32            `json:"rewraps,omitempty"` // how often it was re-wrapped
	RewrappedAt time.Time         `json:"rewrapped_at,omitzero"`
	RevokedAt   time.Time         `json:"revoked_at,omitzero"`
	RevokedBy   string            `json:"revoked_by,omitempty"`

	Plaintext []byte `json:"plaintext,omitempty"` // of OpenDataKey, and of RegisterDataKey where it was asked for: use it and erase it
}

// RegisterDataKeyInput asks for a managed data key: made by the server, taken over (Ciphertext), or noted (Fingerprint).
type RegisterDataKeyInput struct {
	Key           string
	Name          string // optional; unique among the active data keys of the key
	Algorithm     string // what it is for; decides its length
	Bytes         uint32 // 1 to 1,024; 0: the algorithm's, or 32
	Context       Context
	AAD           []byte
	Labels        map[string]string
	WithPlaintext bool
	Ciphertext    []byte
	Fingerprint   []byte // SHA-256 of a ciphertext that stays where it is
	Version       uint32 // with Fingerprint: the version that made the ciphertext
}

// DataKeyFilter selects data keys of a key.
type DataKeyFilter struct {
	Key     string
	Version uint32 // the active ones under it; 0: all, revoked ones too
	Outside bool   // with Version: those known by fingerprint
}

// DataKeyCounts tells which versions of a key its data keys are under. What was encrypted with data keys of before, the server does not know.
type DataKeyCounts struct {
	KeyID          string         `json:"key_id"`
	PrimaryVersion uint32         `json:"primary_version"`
	Versions       []DataKeyCount `json:"versions"`
	More           bool           `json:"more,omitempty"` // there are more versions than the 64 that are shown
}

// DataKeyCount counts under one version.
type DataKeyCount struct {
	Version uint32 `json:"version"`
	Held    uint64 `json:"held"`
	Outside uint64 `json:"outside"`        // known by fingerprint: who holds them has to re-wrap them
	More    bool   `json:"more,omitempty"` // there are more than the 100,000 of one kind that were counted
}

// Campaign brings the managed data keys of a key under its primary version. Its JSON form is stable.
type Campaign struct {
	ID               string    `json:"id"`
	KeyID            string    `json:"key_id"`
	Key              string    `json:"key"`
	State            string    `json:"state"` // running, waiting, paused, cancelled or done
	TargetVersion    uint32    `json:"target_version"`
	Cause            string    `json:"cause"`
	Rate             uint32    `json:"rate,omitempty"` // data keys a second at most
	Total            uint64    `json:"total"`
	Done             uint64    `json:"done"`
	Failed           uint64    `json:"failed,omitempty"`
	Left             uint64    `json:"left"`
	Pages            uint64    `json:"pages"`
	Note             string    `json:"note,omitempty"`
	BeganAt          time.Time `json:"began_at,omitzero"`
	BeganBy          string    `json:"began_by"`
	EndedAt          time.Time `json:"ended_at,omitzero"`
	WorkedSeconds    float64   `json:"worked_seconds"`
	PerSecond        float64   `json:"per_second,omitempty"`
	RemainingSeconds float64   `json:"remaining_seconds,omitempty"`
}

// Over tells whether the campaign does nothing more.
func (c Campaign) Over() bool { return c.State == "done" || c.State == "cancelled" }

// RegisterDataKey makes a managed data key, takes one over, or notes one that is held elsewhere.
func (c *Client) RegisterDataKey(ctx context.Context, in RegisterDataKeyInput, options ...Option) (ManagedDataKey, error) {
	return managed(invoke(ctx, c, c.dataKeys.RegisterDataKey, &keyholdv1.RegisterDataKeyRequest{
		Key: in.Key, Name: in.Name, Algorithm: in.Algorithm, Bytes: in.Bytes, Context: in.Context, Aad: in.AAD, Labels: in.Labels,
		WithPlaintext: in.WithPlaintext, Ciphertext: in.Ciphertext, Fingerprint: in.Fingerprint, Version: in.Version,
	}, changes, options))
}

// ReadDataKey answers a managed data key as it is wrapped. dataKey is its id or name.
func (c *Client) ReadDataKey(ctx context.Context, key, dataKey string, options ...Option) (ManagedDataKey, error) {
	return managed(invoke(ctx, c, c.dataKeys.ReadDataKey, &keyholdv1.ReadDataKeyRequest{Key: key, DataKey: dataKey}, reads, options))
}

// OpenDataKey answers a managed data key in the clear.
func (c *Client) OpenDataKey(ctx context.Context, key, dataKey string, options ...Option) (ManagedDataKey, error) {
	return managed(invoke(ctx, c, c.dataKeys.OpenDataKey, &keyholdv1.OpenDataKeyRequest{Key: key, DataKey: dataKey}, reads, options))
}

// RevokeDataKey erases the wrapped bytes of a managed data key; that there was one stays known.
func (c *Client) RevokeDataKey(ctx context.Context, key, dataKey string, options ...Option) (ManagedDataKey, error) {
	return managed(invoke(ctx, c, c.dataKeys.RevokeDataKey, &keyholdv1.RevokeDataKeyRequest{Key: key, DataKey: dataKey}, changes, options))
}

// ListDataKeys goes through the managed data keys of a key.
func (c *Client) ListDataKeys(ctx context.Context, f DataKeyFilter, options ...Option) iter.Seq2[ManagedDataKey, error] {
	return pages(func(token string) ([]ManagedDataKey, string, error) {
		res, err := invoke(ctx, c, c.dataKeys.ListDataKeys, &keyholdv1.ListDataKeysRequest{
			Key: f.Key, Version: f.Version, Outside: f.Outside, PageToken: token,
		}, reads, options)
		return each(res.GetDataKeys(), managedDataKey), res.GetNextPageToken(), err
	})
}

// CountDataKeys tells which versions of a key its data keys are under.
func (c *Client) CountDataKeys(ctx context.Context, key string, options ...Option) (DataKeyCounts, error) {
	res, err := invoke(ctx, c, c.dataKeys.CountDataKeys, &keyholdv1.CountDataKeysRequest{Key: key}, reads, options)
	return DataKeyCounts{KeyID: res.GetKeyId(), PrimaryVersion: res.GetPrimaryVersion(), More: res.GetMore(),
		Versions: each(res.GetVersions(), func(n *keyholdv1.DataKeyCount) DataKeyCount {
			return DataKeyCount{Version: n.GetVersion(), Held: n.GetHeld(), Outside: n.GetOutside(), More: n.GetMore()}
		})}, err
}

// StartCampaign begins a campaign by hand. rate is in data keys a second; 0: as many as the server's load permits.
func (c *Client) StartCampaign(ctx context.Context, key string, rate uint32, options ...Option) (Campaign, error) {
	return campaign(invoke(ctx, c, c.dataKeys.StartCampaign, &keyholdv1.StartCampaignRequest{Key: key, Rate: rate}, changes, options))
}

// ReadCampaign answers the newest campaign of a key.
func (c *Client) ReadCampaign(ctx context.Context, key string, options ...Option) (Campaign, error) {
	return campaign(invoke(ctx, c, c.dataKeys.ReadCampaign, &keyholdv1.ReadCampaignRequest{Key: key}, reads, options))
}

// ListCampaigns goes through the newest campaigns of the keys that the caller may see.
func (c *Client) ListCampaigns(ctx context.Context, options ...Option) iter.Seq2[Campaign, error] {
	return pages(func(token string) ([]Campaign, string, error) {
		res, err := invoke(ctx, c, c.dataKeys.ListCampaigns, &keyholdv1.ListCampaignsRequest{PageToken: token}, reads, options)
		return each(res.GetCampaigns(), campaignOf), res.GetNextPageToken(), err
	})
}

// PauseCampaign stops a campaign until it is resumed, also through restarts of the server.
func (c *Client) PauseCampaign(ctx context.Context, key string, options ...Option) (Campaign, error) {
	return campaign(invoke(ctx, c, c.dataKeys.PauseCampaign, &keyholdv1.PauseCampaignRequest{Key: key}, changes, options))
}

// ResumeCampaign lets a paused campaign go on.
func (c *Client) ResumeCampaign(ctx context.Context, key string, options ...Option) (Campaign, error) {
	return campaign(invoke(ctx, c, c.dataKeys.ResumeCampaign, &keyholdv1.ResumeCampaignRequest{Key: key}, changes, options))
}

// CancelCampaign ends a campaign. What it has re-wrapped stays so.
func (c *Client) CancelCampaign(ctx context.Context, key string, options ...Option) (Campaign, error) {
	return campaign(invoke(ctx, c, c.dataKeys.CancelCampaign, &keyholdv1.CancelCampaignRequest{Key: key}, changes, options))
}

// SetCampaignRate limits how many data keys a second a campaign re-wraps; 0: as many as the server's load permits.
func (c *Client) SetCampaignRate(ctx context.Context, key string, rate uint32, options ...Option) (Campaign, error) {
	return campaign(invoke(ctx, c, c.dataKeys.SetCampaignRate, &keyholdv1.SetCampaignRateRequest{Key: key, Rate: rate}, changes, options))
}

func managed(res *keyholdv1.DataKeyResponse, err error) (ManagedDataKey, error) {
	if err != nil {
		return ManagedDataKey{}, err
	}
	d := managedDataKey(res.GetDataKey())
	d.Plaintext = res.GetPlaintext()
	return d, nil
}

func managedDataKey(m *keyholdv1.ManagedDataKey) ManagedDataKey {
	return ManagedDataKey{
		ID: m.GetId(), KeyID: m.GetKeyId(), Name: m.GetName(), State: m.GetState(), Version: m.GetVersion(), Algorithm: m.GetAlgorithm(), Bytes: m.GetBytes(),
		Ciphertext: m.GetCiphertext(), Fingerprint: m.GetFingerprint(), Context: m.GetContext(), AAD: m.GetAad(), Labels: m.GetLabels(),
		CreatedAt: timeOf(m.GetCreatedAt()), CreatedBy: m.GetCreatedBy(), Rewraps: m.GetRewraps(), RewrappedAt: timeOf(m.GetRewrappedAt()),
		RevokedAt: timeOf(m.GetRevokedAt()), RevokedBy: m.GetRevokedBy(),
	}
}

func campaign(res *keyholdv1.CampaignResponse, err error) (Campaign, error) {
	if err != nil {
		return Campaign{}, err
	}
	return campaignOf(res.GetCampaign()), nil
}

func campaignOf(m *keyholdv1.Campaign) Campaign {
	return Campaign{
		ID: m.GetId(), KeyID: m.GetKeyId(), Key: m.GetKeyName(), State: m.GetState(), TargetVersion: m.GetTargetVersion(), Cause: m.GetCause(), Rate: m.GetRate(),
		Total: m.GetTotal(), Done: m.GetDone(), Failed: m.GetFailed(), Left: m.GetLeft(), Pages: m.GetPages(), Note: m.GetNote(),
		BeganAt: timeOf(m.GetBeganAt()), BeganBy: m.GetBeganBy(), EndedAt: timeOf(m.GetEndedAt()),
		WorkedSeconds: m.GetWorked().AsDuration().Seconds(), PerSecond: m.GetPerSecond(), RemainingSeconds: m.GetRemaining().AsDuration().Seconds(),
	}
}
