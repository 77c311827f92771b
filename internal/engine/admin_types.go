package engine

import (
	"net/netip"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/policy"
	"github.com/keyhold/keyhold/internal/secret"
)

// NamespaceInput creates or changes a namespace.
type NamespaceInput struct {
	Name               kms.Namespace
	Description        *string
	SeparationOfDuties *bool          // nil: on for a new namespace, unchanged for an old one
	Approvals          []ApprovalRule // of the actions that are named; others stay as they are
	Required           *[]string      `json:",omitzero"` // metadata that every new key must carry; nil: unchanged
	NoUpsert           *bool          `json:",omitzero"` // an encryption of the Vault dialect makes no key that is not there; nil: unchanged

	made *newKEK
}

// NamespaceOutput is a namespace as it is.
type NamespaceOutput struct{ Namespace NamespaceInfo }

// NamespaceInfo describes a namespace.
type NamespaceInfo struct {
	Name               kms.Namespace
	Description        string
	SeparationOfDuties bool
	Approvals          []ApprovalRule // by the names of the actions
	Required           []string       // metadata that every new key must carry: "description", "class", "template" or names of labels
	NoUpsert           bool           // an encryption of the Vault dialect makes no key that is not there
	Created            time.Time
	DestroyAt          time.Time // while its destruction is pending, and after it
	Destroyed          time.Time
	Irrecoverable      time.Time // since when no copy of the store brings it back
	Rev                kms.Rev
}

// PageInput asks for one page of a listing.
type PageInput struct {
	Page  string
	Limit int // 0: 100; at most 1000
}

// NamespacesOutput is one page.
type NamespacesOutput struct {
	Namespaces []NamespaceInfo
	Next       string
}

// PutPolicyInput stores a policy of the call's namespace, validated strictly.
type PutPolicyInput struct {
	ID         string   // [a-z0-9][a-z0-9-]{0,62}
	Text       string   // Cedar, or what Language says
	Language   string   `json:",omitzero"` // LanguageCedar, LanguageAWS or LanguageVault; empty: Cedar
	Principals []string `json:",omitzero"` // in the languages of others: whom it speaks about
	Groups     []string `json:",omitzero"`

	notes []string // of the reading
}

// The languages of policies.
const (
	LanguageCedar = "cedar"
	LanguageAWS   = "aws-iam"   // identity policies of AWS
	LanguageVault = "vault-acl" // ACL policies of Vault and OpenBao
)

// PolicyInput names a policy.
type PolicyInput struct{ ID string }

// PolicyInfo is a stored policy.
type PolicyInfo struct {
	ID         string
	Text       string
	Language   string
	Principals []string // whom a policy in AWS's language speaks about
	Groups     []string
	Changed    time.Time
	By         string
	Rev        kms.Rev
}

// PolicyOutput is one policy.
type PolicyOutput struct {
	Policy PolicyInfo
	Notes  []string // what of a new one has no effect
}

// PoliciesOutput is one page.
type PoliciesOutput struct {
	Policies []PolicyInfo
	Next     string
}

// CanIInput asks whether a principal may do something. Asking about others needs TestPolicy.
type CanIInput struct {
	Action    kms.Action
	Key       kms.Ref // for actions on keys
	Secret    string  // for actions on secrets: the path
	Principal string  // empty: the caller
	Roles     []kms.Role
	Groups    []string
	Context   kms.Context
}

// ExplainInput names a decision: the id that a denial carried.
type ExplainInput struct{ Decision string }

// ExplainOutput is the answer to both.
type ExplainOutput struct {
	Record      *audit.Record // of the decision asked about; nil for CanI
	Explanation policy.Explanation
}

// CreateTokenInput asks for a bearer token for a principal of the call's namespace.
type CreateTokenInput struct {
	Principal string // name, e.g. "svc/orders"
	Roles     []kms.Role
	Groups    []string
	Scope     []kms.Action  // empty: everything its roles and policies permit
	TTL       time.Duration // 0: 24 hours; at most a year

	Renewable bool              // it can be renewed, for 32 days from now on, or as Most and Period say
	Most      time.Duration     // all that it lives, with renewals; 0: 32 days, or with a Period for ever
	Period    time.Duration     // every renewal gives it so much, in the place of TTL
	Child     bool              // of the token that the call came with: it ends with that one
	Path      string            // of the request, in words of its dialect; at most 255 bytes
	Meta      map[string]string // at most 16 names of 64 bytes with values of 512 bytes
	Uses      uint32            // how often it can be used; 0: as often as one likes
	Bound     []netip.Prefix    // from where it is used, at most 32; none: from anywhere

	Role  string // of CreateTokenByRole: by which it is made
	Given bool   // of CreateTokenByRole: Roles and Groups are what the caller asks for
}

// TokenInfo describes a token; it never holds the token itself.
type TokenInfo struct {
	ID        kms.ID
	Namespace kms.Namespace
	Principal string
	Roles     []kms.Role
	Groups    []string
	Scope     []kms.Action
	Created   time.Time
	By        string
	Expires   time.Time
	Revoked   time.Time // zero: it stands

	Renewable bool
	TTL       time.Duration // that it was made with; 0: not known
	Period    time.Duration
	Most      time.Duration // all that it may live, as was asked for; 0: nothing was
	Renewed   time.Time     // zero: never
	Line      []kms.ID      // the tokens that it comes from, the first one first
	Path      string
	Meta      map[string]string
	Uses      uint32         // that it was made with; 0: it is used as often as one likes
	Left      uint32         // of these
	Bound     []netip.Prefix // from where it is used; none: from anywhere
	Role      string         // by which it was made, or logged in; empty: none
}

// UsedUp tells whether a token was used as often as it could be.
func (t *TokenInfo) UsedUp() bool { return t.Uses > 0 && t.Left == 0 }

// RenewTokenInput names a token and says for how long it is to live from now on.
type RenewTokenInput struct {
	ID  kms.ID        // zero: the caller's own
	TTL time.Duration // 0: as long as it was made for
}

// RenewTokenOutput is the token as it is now.
type RenewTokenOutput struct {
	Token  TokenInfo
	Capped bool // it lives shorter than was asked for
}

// CreateTokenOutput shows the token, this once.
type CreateTokenOutput struct {
	Token secret.Released
	Info  TokenInfo
}

// IDInput names a token.
type IDInput struct{ ID kms.ID }

// TokenOutput is one token.
type TokenOutput struct{ Token TokenInfo }

// TokensOutput is one page.
type TokensOutput struct {
	Tokens []TokenInfo
	Next   string
}

// CreateCredentialInput binds a client certificate's identity to a principal of the call's namespace.
type CreateCredentialInput struct {
	// Subject is "spiffe://…" (the certificate's URI SAN) or "sha256:…" (hex fingerprint of the certificate).
	Subject   string
	Principal string
	Roles     []kms.Role
	Groups    []string
}

// CredentialInfo describes a binding.
type CredentialInfo struct {
	Subject   string
	Namespace kms.Namespace
	Principal string
	Roles     []kms.Role
	Groups    []string
	Created   time.Time
	By        string
	Revoked   time.Time
}

// SubjectInput names a binding.
type SubjectInput struct{ Subject string }

// CredentialOutput is one binding.
type CredentialOutput struct{ Credential CredentialInfo }

// CredentialsOutput is one page.
type CredentialsOutput struct {
	Credentials []CredentialInfo
	Next        string
}

// WhoAmIOutput tells the caller who the server takes it for.
type WhoAmIOutput struct {
	Principal *kms.Principal
	Namespace kms.Namespace
}

// AuditListInput asks for records of the call's namespace; operators see all.
type AuditListInput struct {
	Filter audit.Filter
	Key    kms.Ref // only records that touched this key; empty: Filter.Key says it
	Page   string  // the previous answer's Next
	Limit  int     // 0: 100; at most 1000. A page may be short, or empty, and still have a next one
}

// AuditEntry is one record with its place in the log.
type AuditEntry struct {
	Position audit.Position
	Record   audit.Record
}

// AuditListOutput is one page.
type AuditListOutput struct {
	Entries []AuditEntry
	Next    string
}

// ProveInput names a record by its position ("n1-000012-3456").
type ProveInput struct{ Position string }

// ProveOutput is a proof bundle that keyhold-verify checks offline, and the key to check it with.
type ProveOutput struct {
	Bundle      []byte
	VerifierKey string
}

// CheckStoreOutput is the finding of a walk over every record and key.
type CheckStoreOutput struct {
	Records, Keys, Versions int
	Damaged                 []string // at most 100, each named
	DamagedCount            int
}

// JobInfo is one long-running or scheduled piece of work.
type JobInfo struct {
	Name     string
	State    string // "idle", "running", "failed", "suspended"; "due" of what waits for its date
	Done     uint64
	Total    uint64
	LastRun  time.Time
	NextRun  time.Time
	LastNote string

	// Of what is due by a date only.
	Namespace kms.Namespace
	Key       kms.ID    // or the id of another thing: see Name
	Version   uint32    // 0: of none
	Due       time.Time // when it was to be done first
	Attempts  uint32    // that failed
}

// JobsInput asks for the jobs, and for some of what is due.
type JobsInput struct {
	Due int // how many: 0 stands for 20; at most 1000
}

// JobsOutput lists the jobs: the standing ones, then what is due by date: under way, failed, next.
type JobsOutput struct{ Jobs []JobInfo }
