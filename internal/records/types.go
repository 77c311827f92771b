package records

import (
	"net/netip"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// A record of a resource that changes carries Change: the leaf hash of the audit record of its last change, so that the
// changes of one resource chain in the audit log and a removed one shows.

// Key is a key's metadata as stored.
type Key struct {
	kms.Key
	Change [32]byte `json:"change"`
}

// Version is one version as stored, with its wrapped material.
type Version struct {
	kms.Version
	Wrapped []byte `json:"wrapped,omitempty"` // under HKDF(namespace KEK, shred secret, place); erased at destruction
	Canary  []byte `json:"canary,omitempty"`  // what it protected at its birth; none of versions that are older than canaries
}

// Name maps a name or alias to its key.
type Name struct {
	Key   kms.ID `json:"key"`
	Name  string `json:"name"`
	Alias bool   `json:"alias,omitempty"`
}

// Shred is a shred secret, wrapped by an epoch KEK.
type Shred struct {
	Row       []byte        `json:"row"`
	Namespace kms.Namespace `json:"ns"` // part of the place it is bound to
}

// Namespace is a tenant as stored.
type Namespace struct {
	Name               kms.Namespace `json:"name"`
	Description        string        `json:"desc,omitempty"`
	SeparationOfDuties bool          `json:"duties"`
	Dev                bool          `json:"dev,omitempty"` // no minimum destruction window
	Created            time.Time     `json:"created"`
	KEK                []byte        `json:"kek"` // wrapped by the root; empty for the system namespace
	KEKCheck           []byte        `json:"kek_check,omitempty"`
	PolicyRev          uint64        `json:"policy_rev"`         // counts changes of policies and templates, so that rules are one snapshot
	Required           []string      `json:"required,omitempty"` // metadata that every new key must carry
	Change             [32]byte      `json:"change"`

	DestroyAt     time.Time `json:"destroy_at,omitzero"` // while its destruction is pending
	Destroyed     time.Time `json:"destroyed,omitzero"`  // its KEK is erased: this record and the metadata of its keys remain
	Irrecoverable time.Time `json:"final,omitzero"`      // since when no copy brings it back
	// Approvals says of how many others each of these actions needs the approval: 1 to approval.MaxApprovers.
	Approvals map[kms.Action]int `json:"approvals,omitempty"`

	// Of the Vault dialect only.
	Wrapping kms.ID `json:"wrapping,omitzero"`   // the key pair that material is wrapped for which comes in (keyring.ImportVersion); zero: nobody asked for it yet
	NoUpsert bool   `json:"no_upsert,omitempty"` // an encryption makes no key that is not there

	Rev kms.Rev `json:"-"`
}

// Policy is a stored policy.
type Policy struct {
	ID      string    `json:"id"`
	Text    string    `json:"text"`
	Changed time.Time `json:"changed"`
	By      string    `json:"by"`
	Change  [32]byte  `json:"change"`

	// Of a policy in AWS's language only.
	Language   string   `json:"language,omitempty"`   // "aws-iam"; empty: Cedar
	Account    string   `json:"account,omitempty"`    // whose keys the text names
	Principals []string `json:"principals,omitempty"` // whom it speaks about
	Groups     []string `json:"groups,omitempty"`

	Rev kms.Rev `json:"-"`
}

// Token is a bearer token as stored: its digest, never itself.
type Token struct {
	ID        kms.ID        `json:"id"`
	Digest    [32]byte      `json:"digest"` // SHA-256 of the secret
	Namespace kms.Namespace `json:"ns"`
	Principal string        `json:"principal"`
	Roles     []kms.Role    `json:"roles,omitempty"`
	Groups    []string      `json:"groups,omitempty"`
	Scope     []kms.Action  `json:"scope,omitempty"`
	Created   time.Time     `json:"created"`
	By        string        `json:"by"`
	Expires   time.Time     `json:"expires"`
	Revoked   time.Time     `json:"revoked,omitzero"`
	Change    [32]byte      `json:"change"`

	// Of a token that may live longer than it was made for, or ends with others.
	Renewable bool              `json:"renewable,omitzero"`
	TTL       kms.Seconds       `json:"ttl,omitzero"`    // what a renewal gives it; 0: not kept
	Period    kms.Seconds       `json:"period,omitzero"` // in the place of TTL, without an end of its own
	Until     time.Time         `json:"until,omitzero"`  // it cannot be renewed beyond this; zero: as long as it is renewed
	Limit     kms.Seconds       `json:"limit,omitzero"`  // the most that was asked for when it was made; 0: nothing was
	Renewed   time.Time         `json:"renewed,omitzero"`
	Line      []kms.ID          `json:"line,omitempty"` // the tokens that it comes from, the first one first: it ends with each of them
	Freed     bool              `json:"freed,omitzero"` // it was revoked alone: what comes from it comes from nothing since
	Path      string            `json:"path,omitempty"` // of the request that made it
	Meta      map[string]string `json:"meta,omitempty"`

	// Of a token that a login gave, or whose use is limited otherwise.
	Login TokenLogin     `json:"login,omitzero"`
	Uses  uint32         `json:"uses,omitzero"`   // how often it can be used; 0: as often as one likes
	Bound []netip.Prefix `json:"bound,omitempty"` // from where it is used; none: from anywhere

	Rev kms.Rev `json:"-"`
}

// TokenLogin is the login that gave a token: the token ends with the mount, and is renewed as long as the role is there. The zero value: none.
type TokenLogin struct {
	Mount  kms.ID   `json:"mount"`
	Path   string   `json:"path"`
	Role   string   `json:"role"`
	RoleID kms.ID   `json:"role_id"`
	Groups []string `json:"groups,omitempty"` // those of the token's that the role gave
}

// Credential binds a certificate's subject to a principal.
type Credential struct {
	Subject   string        `json:"subject"`
	Namespace kms.Namespace `json:"ns"`
	Principal string        `json:"principal"`
	Roles     []kms.Role    `json:"roles,omitempty"`
	Groups    []string      `json:"groups,omitempty"`
	Created   time.Time     `json:"created"`
	By        string        `json:"by"`
	Revoked   time.Time     `json:"revoked,omitzero"`
	Change    [32]byte      `json:"change"`

	Rev kms.Rev `json:"-"`
}

// Outbox is an audit record that was committed with its change and may not be in the log yet.
type Outbox struct {
	ID    kms.ID    `json:"id"`
	Body  []byte    `json:"body"`
	Annex []byte    `json:"annex"`
	Time  time.Time `json:"time"`

	// The log's boot epoch, and how many records it had, before the change was made: the record is not before that. Epoch 0: not known.
	Epoch uint64 `json:"epoch,omitzero"`
	Seq   uint64 `json:"seq,omitzero"`
}

// Idem is the remembered outcome of a change that carried an idempotency token.
type Idem struct {
	Request [32]byte  `json:"request"` // digest of the request
	Output  []byte    `json:"output"`  // JSON; empty where it must not be shown twice
	Time    time.Time `json:"time"`
}

// Enrollment is the one-time code in force.
type Enrollment struct {
	Digest  [32]byte  `json:"digest"`
	Expires time.Time `json:"expires"`
	Used    bool      `json:"used"`
}

// Job is where a long piece of work stands, so that it resumes after a restart.
type Job struct {
	Name    string    `json:"name"`
	State   string    `json:"state"`
	Cursor  []byte    `json:"cursor,omitempty"`
	Done    uint64    `json:"done"`
	Total   uint64    `json:"total"`
	Target  uint32    `json:"target,omitempty"` // an epoch or generation
	LastRun time.Time `json:"last"`
	Note    string    `json:"note,omitempty"`
}
