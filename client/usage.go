package client

import (
	"context"
	"time"

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
