package kms

// Action is what a caller wants to do. It names the operation in policies, records and metrics.
type Action uint8

// The actions. The order is part of the audit format: append only.
const (
	CreateKey Action = iota + 1
	DescribeKey
	ListKeys
	UpdateKey
	Encrypt
	Decrypt
	ReEncryptFrom
	ReEncryptTo
	GenerateDataKey
	GenerateDataKeyWithoutPlaintext
	Sign
	Verify
	GenerateMAC
	VerifyMAC
	GenerateRandom
	GetPublicKey
	RotateKey
	EnableKey
	DisableKey
	SuspendKey
	ResumeKey
	DeactivateVersion
	ScheduleKeyDestruction
	CancelKeyDestruction
	DestroyKey // performed by the system when the window ends
	ReEncrypt  // the name of the operation; callers are granted ReEncryptFrom and ReEncryptTo

	CreateNamespace
	ReadNamespace
	UpdateNamespace
	PutPolicy
	ReadPolicy
	DeletePolicy
	TestPolicy // can-i and explain
	CreateToken
	ReadToken
	RevokeToken
	CreateCredential
	ReadCredential
	RevokeCredential
	ReadAudit
	ReadJobs
	RollEpoch
	RotateRoot
	SealServer
	UnsealServer
	InitServer
	EnrollAdministrator
	MintEnrollment
	StartServer
	StopServer
	ReadHealth
	CheckStore
	ExportStore
	Withhold // an output that was ready was not released
	WhoAmI
	Authenticate // a failed authentication that is worth a record: a lock-out

	DeriveSharedSecret
	Encapsulate
	Decapsulate
	WrapKey
	UnwrapKey
	EncryptFormat
	DecryptFormat
	GenerateDataKeyPair
	GenerateDataKeyPairWithoutPlaintext

	RetireAudit // the data of old audit records is dropped; their hashes stay
	EraseAudit  // what identifies a person in audit records is blanked

	ConfirmClock // an operator's word that the machine's clock is right

	ActivateVersion // makes a pre-active version active, or sets the date at which it becomes so
	SuspendVersion
	ResumeVersion
	ArchiveVersion     // puts a deactivated version away
	RecallVersion      // lets a deactivated or archived version process for a while; takes approvals
	CompromiseVersion  // marks versions as compromised
	ProcessCompromised // a permission alone: to process with compromised versions
	RetireVersion      // ends a version of which nothing is left, or by force with approvals
	ScheduleRotation   // sets or clears a key's cryptoperiod
	AssessKey          // what the destruction of a key would reach
	ReadUsage          // the usage ledger
	ReadReceipt        // the receipt of a destruction
	CreateImportToken
	ImportKeyMaterial
	ExpireKeyMaterial // by the system, or by hand: imported material is forgotten
	ExportKey         // wrapped under a key of the receiver
	RegisterDataKey   // makes a managed data key, or registers the fingerprint of one that is held elsewhere
	ReadDataKey       // a managed data key as it is wrapped
	OpenDataKey       // a managed data key in the clear
	RevokeDataKey
	RewrapDataKeys // a campaign that brings managed data keys under the primary version
	ReadCampaign
	ControlCampaign // pauses, goes on, ends
	RequestApproval // asks for the approvals that a request needs
	GiveApproval    // approves or refuses what somebody else asked for
	ReadApproval
	WithdrawApproval // takes back what one asked for
	ReadInventory
	PutTemplate
	ReadTemplate
	DeleteTemplate
	ScheduleNamespaceDestruction
	CancelNamespaceDestruction
	DestroyNamespace // performed by the system when the window ends
	RebuildUsage     // the usage ledger is forgotten, and counted anew from the log
	CreateAccessKey  // a pair of id and secret with which requests are signed
	ReadAccessKey
	RotateAccessKey
	RevokeAccessKey
	ReplicateKey        // a multi-Region key answers in one region more
	UpdatePrimaryRegion // the region of a replica becomes the key's home
	DeleteReplica       // performed by the system when a replica's window ends

	PutKeyPolicy // the policy that belongs to one key; or takes it away
	GetKeyPolicy
	CreateGrant
	RevokeGrant // by who manages the key
	RetireGrant // by those whom the grant names
	ListGrants
	ListRetirableGrants // those that name one principal as the one who may retire them

	PutRole // a role that can be assumed for a while
	ReadRole
	DeleteRole
	AssumeRole // begins a session of a role

	PutSecret // writes a version of a document that a client keeps here, sealed
	ReadSecret
	ListSecrets
	DeleteSecret // of versions, which can be taken back
	UndeleteSecret
	DestroySecret // of versions, for good
	ReadSecretMetadata
	UpdateSecretMetadata
	DeleteSecretMetadata // destroys all versions, and forgets that there was such a secret
	WrapAnswer           // puts an answer away for who has the token that leads to it
	UnwrapAnswer         // gives it out, once
	LookUpAnswer         // tells how long it waits, and does not give it out
	RewrapAnswer         // under another token

	AllowExport   // a key of the Vault dialect may leave from now on, wrapped or in the clear
	RenewToken    // lets somebody's token live longer
	RenewOwnToken // the caller's
	RevokeOwnToken
	RestoreKey // a key is made of a backup, or of material that came in by the Vault dialect
	ReleaseKey // material leaves in the clear, in a backup or an export of the Vault dialect
	TrimKey    // the oldest versions are destroyed for good

	EnableAuth // a mount at which one logs in
	TuneAuth
	DisableAuth // ends the tokens that it gave
	ReadAuth
	ConfigureAuth
	PutAuthRole // who can log in at a mount, and what for: a role, a user, a certificate
	ReadAuthRole
	DeleteAuthRole
	Login          // somebody without a token proves who it is, and is given one
	CreateSecretID // that logs a role in
	ReadSecretID   // tells of it, and does not give it out
	DestroySecretID

	ReadWrappingKey   // what material is wrapped for that comes in by the Vault dialect; the first one who asks has it made
	CreateTokenByRole // a token within what a role for tokens allows

	actionEnd
)

// Group classes actions for roles and for separation of duties.
type Group uint8

// The groups.
const (
	UseGroup       Group = iota + 1 // cryptography with a key
	ManageGroup                     // the life of a key
	ReadGroup                       // looking at metadata
	AuditGroup                      // looking at the trail
	AdminGroup                      // namespaces, policies, tokens, credentials
	OperatorGroup                   // the server itself
	SelfGroup                       // what every authenticated caller may do
	ExceptionGroup                  // permissions that no role and no other group has: they are granted by name
	SecretGroup                     // documents that are kept sealed; reading their values is an exception
)

type actionFacts struct {
	name  string
	group Group
	key   bool // acts on a key (not on a namespace or the server)
}

var actions = [...]actionFacts{
	CreateKey:                       {"CreateKey", ManageGroup, true},
	DescribeKey:                     {"DescribeKey", ReadGroup, true},
	ListKeys:                        {"ListKeys", ReadGroup, false},
	UpdateKey:                       {"UpdateKey", ManageGroup, true},
	Encrypt:                         {"Encrypt", UseGroup, true},
	Decrypt:                         {"Decrypt", UseGroup, true},
	ReEncryptFrom:                   {"ReEncryptFrom", UseGroup, true},
	ReEncryptTo:                     {"ReEncryptTo", UseGroup, true},
	GenerateDataKey:                 {"GenerateDataKey", UseGroup, true},
	GenerateDataKeyWithoutPlaintext: {"GenerateDataKeyWithoutPlaintext", UseGroup, true},
	Sign:                            {"Sign", UseGroup, true},
	Verify:                          {"Verify", UseGroup, true},
	GenerateMAC:                     {"GenerateMac", UseGroup, true},
	VerifyMAC:                       {"VerifyMac", UseGroup, true},
	GenerateRandom:                  {"GenerateRandom", UseGroup, false},
	GetPublicKey:                    {"GetPublicKey", ReadGroup, true},
	RotateKey:                       {"RotateKey", ManageGroup, true},
	EnableKey:                       {"EnableKey", ManageGroup, true},
	DisableKey:                      {"DisableKey", ManageGroup, true},
	SuspendKey:                      {"SuspendKey", ManageGroup, true},
	ResumeKey:                       {"ResumeKey", ManageGroup, true},
	DeactivateVersion:               {"DeactivateVersion", ManageGroup, true},
	ScheduleKeyDestruction:          {"ScheduleKeyDestruction", ManageGroup, true},
	CancelKeyDestruction:            {"CancelKeyDestruction", ManageGroup, true},
	DestroyKey:                      {"DestroyKey", OperatorGroup, true},
	ReEncrypt:                       {"ReEncrypt", UseGroup, true},
	CreateNamespace:                 {"CreateNamespace", AdminGroup, false},
	ReadNamespace:                   {"ReadNamespace", ReadGroup, false},
	UpdateNamespace:                 {"UpdateNamespace", AdminGroup, false},
	PutPolicy:                       {"PutPolicy", AdminGroup, false},
	ReadPolicy:                      {"ReadPolicy", ReadGroup, false},
	DeletePolicy:                    {"DeletePolicy", AdminGroup, false},
	TestPolicy:                      {"TestPolicy", AdminGroup, false},
	CreateToken:                     {"CreateToken", AdminGroup, false},
	ReadToken:                       {"ReadToken", AdminGroup, false},
	RevokeToken:                     {"RevokeToken", AdminGroup, false},
	CreateCredential:                {"CreateCredential", AdminGroup, false},
	ReadCredential:                  {"ReadCredential", AdminGroup, false},
	RevokeCredential:                {"RevokeCredential", AdminGroup, false},
	ReadAudit:                       {"ReadAudit", AuditGroup, false},
	ReadJobs:                        {"ReadJobs", OperatorGroup, false},
	RollEpoch:                       {"RollEpoch", OperatorGroup, false},
	RotateRoot:                      {"RotateRoot", OperatorGroup, false},
	SealServer:                      {"SealServer", OperatorGroup, false},
	UnsealServer:                    {"UnsealServer", OperatorGroup, false},
	InitServer:                      {"InitServer", OperatorGroup, false},
	EnrollAdministrator:             {"EnrollAdministrator", OperatorGroup, false},
	MintEnrollment:                  {"MintEnrollment", OperatorGroup, false},
	StartServer:                     {"StartServer", OperatorGroup, false},
	StopServer:                      {"StopServer", OperatorGroup, false},
	ReadHealth:                      {"ReadHealth", OperatorGroup, false},
	CheckStore:                      {"CheckStore", OperatorGroup, false},
	ExportStore:                     {"ExportStore", OperatorGroup, false},
	Withhold:                        {"Withhold", OperatorGroup, false},
	WhoAmI:                          {"WhoAmI", SelfGroup, false},
	Authenticate:                    {"Authenticate", SelfGroup, false},

	DeriveSharedSecret:                  {"DeriveSharedSecret", UseGroup, true},
	Encapsulate:                         {"Encapsulate", UseGroup, true},
	Decapsulate:                         {"Decapsulate", UseGroup, true},
	WrapKey:                             {"WrapKey", UseGroup, true},
	UnwrapKey:                           {"UnwrapKey", UseGroup, true},
	EncryptFormat:                       {"EncryptFormat", UseGroup, true},
	DecryptFormat:                       {"DecryptFormat", UseGroup, true},
	GenerateDataKeyPair:                 {"GenerateDataKeyPair", UseGroup, true},
	GenerateDataKeyPairWithoutPlaintext: {"GenerateDataKeyPairWithoutPlaintext", UseGroup, true},

	RetireAudit: {"RetireAudit", OperatorGroup, false},
	EraseAudit:  {"EraseAudit", OperatorGroup, false},

	ConfirmClock: {"ConfirmClock", OperatorGroup, false},

	ActivateVersion:              {"ActivateVersion", ManageGroup, true},
	SuspendVersion:               {"SuspendVersion", ManageGroup, true},
	ResumeVersion:                {"ResumeVersion", ManageGroup, true},
	ArchiveVersion:               {"ArchiveVersion", ManageGroup, true},
	RecallVersion:                {"RecallVersion", ManageGroup, true},
	CompromiseVersion:            {"CompromiseVersion", ManageGroup, true},
	ProcessCompromised:           {"ProcessCompromised", ExceptionGroup, true},
	RetireVersion:                {"RetireVersion", ManageGroup, true},
	ScheduleRotation:             {"ScheduleRotation", ManageGroup, true},
	AssessKey:                    {"AssessKey", ReadGroup, true},
	ReadUsage:                    {"ReadUsage", ReadGroup, true},
	ReadReceipt:                  {"ReadReceipt", ReadGroup, true},
	CreateImportToken:            {"CreateImportToken", ManageGroup, true},
	ImportKeyMaterial:            {"ImportKeyMaterial", ManageGroup, true},
	ExpireKeyMaterial:            {"ExpireKeyMaterial", ManageGroup, true},
	ExportKey:                    {"ExportKey", ManageGroup, true},
	RegisterDataKey:              {"RegisterDataKey", UseGroup, true},
	ReadDataKey:                  {"ReadDataKey", ReadGroup, true},
	OpenDataKey:                  {"OpenDataKey", UseGroup, true},
	RevokeDataKey:                {"RevokeDataKey", ManageGroup, true},
	RewrapDataKeys:               {"RewrapDataKeys", ManageGroup, true},
	ReadCampaign:                 {"ReadCampaign", ReadGroup, true},
	ControlCampaign:              {"ControlCampaign", ManageGroup, true},
	RequestApproval:              {"RequestApproval", SelfGroup, false},
	GiveApproval:                 {"GiveApproval", AdminGroup, false},
	ReadApproval:                 {"ReadApproval", ReadGroup, false},
	WithdrawApproval:             {"WithdrawApproval", SelfGroup, false},
	ReadInventory:                {"ReadInventory", ReadGroup, false},
	PutTemplate:                  {"PutTemplate", AdminGroup, false},
	ReadTemplate:                 {"ReadTemplate", ReadGroup, false},
	DeleteTemplate:               {"DeleteTemplate", AdminGroup, false},
	ScheduleNamespaceDestruction: {"ScheduleNamespaceDestruction", AdminGroup, false},
	CancelNamespaceDestruction:   {"CancelNamespaceDestruction", AdminGroup, false},
	DestroyNamespace:             {"DestroyNamespace", OperatorGroup, false},
	RebuildUsage:                 {"RebuildUsage", OperatorGroup, false},
	CreateAccessKey:              {"CreateAccessKey", AdminGroup, false},
	ReadAccessKey:                {"ReadAccessKey", AdminGroup, false},
	RotateAccessKey:              {"RotateAccessKey", AdminGroup, false},
	RevokeAccessKey:              {"RevokeAccessKey", AdminGroup, false},
	ReplicateKey:                 {"ReplicateKey", ManageGroup, true},
	UpdatePrimaryRegion:          {"UpdatePrimaryRegion", ManageGroup, true},
	DeleteReplica:                {"DeleteReplica", OperatorGroup, true},

	PutKeyPolicy:        {"PutKeyPolicy", ManageGroup, true},
	GetKeyPolicy:        {"GetKeyPolicy", ReadGroup, true},
	CreateGrant:         {"CreateGrant", ManageGroup, true},
	RevokeGrant:         {"RevokeGrant", ManageGroup, true},
	RetireGrant:         {"RetireGrant", SelfGroup, true},
	ListGrants:          {"ListGrants", ReadGroup, true},
	ListRetirableGrants: {"ListRetirableGrants", ReadGroup, false},

	PutRole:    {"PutRole", AdminGroup, false},
	ReadRole:   {"ReadRole", AdminGroup, false},
	DeleteRole: {"DeleteRole", AdminGroup, false},
	AssumeRole: {"AssumeRole", SelfGroup, false},

	PutSecret:            {"PutSecret", SecretGroup, false},
	ReadSecret:           {"ReadSecret", ExceptionGroup, false},
	ListSecrets:          {"ListSecrets", SecretGroup, false},
	DeleteSecret:         {"DeleteSecret", SecretGroup, false},
	UndeleteSecret:       {"UndeleteSecret", SecretGroup, false},
	DestroySecret:        {"DestroySecret", SecretGroup, false},
	ReadSecretMetadata:   {"ReadSecretMetadata", SecretGroup, false},
	UpdateSecretMetadata: {"UpdateSecretMetadata", SecretGroup, false},
	DeleteSecretMetadata: {"DeleteSecretMetadata", SecretGroup, false},
	WrapAnswer:           {"WrapAnswer", SelfGroup, false},
	UnwrapAnswer:         {"UnwrapAnswer", SelfGroup, false},
	LookUpAnswer:         {"LookUpAnswer", SelfGroup, false},
	RewrapAnswer:         {"RewrapAnswer", SelfGroup, false},
	AllowExport:          {"AllowExport", ManageGroup, true},
	RenewToken:           {"RenewToken", AdminGroup, false},
	RenewOwnToken:        {"RenewOwnToken", SelfGroup, false},
	RevokeOwnToken:       {"RevokeOwnToken", SelfGroup, false},
	RestoreKey:           {"RestoreKey", ManageGroup, true},
	ReleaseKey:           {"ReleaseKey", ManageGroup, true},
	TrimKey:              {"TrimKey", ManageGroup, true},

	EnableAuth:      {"EnableAuth", AdminGroup, false},
	TuneAuth:        {"TuneAuth", AdminGroup, false},
	DisableAuth:     {"DisableAuth", AdminGroup, false},
	ReadAuth:        {"ReadAuth", AdminGroup, false},
	ConfigureAuth:   {"ConfigureAuth", AdminGroup, false},
	PutAuthRole:     {"PutAuthRole", AdminGroup, false},
	ReadAuthRole:    {"ReadAuthRole", AdminGroup, false},
	DeleteAuthRole:  {"DeleteAuthRole", AdminGroup, false},
	Login:           {"Login", SelfGroup, false},
	CreateSecretID:  {"CreateSecretId", AdminGroup, false},
	ReadSecretID:    {"ReadSecretId", AdminGroup, false},
	DestroySecretID: {"DestroySecretId", AdminGroup, false},

	ReadWrappingKey:   {"ReadWrappingKey", AdminGroup, false},
	CreateTokenByRole: {"CreateTokenByRole", AdminGroup, false},
}

// AllActions lists every action, for tables and tests that range over them.
func AllActions() []Action {
	var all []Action
	for a := CreateKey; a < actionEnd; a++ {
		all = append(all, a)
	}
	return all
}

// ActionCount is one more than the highest action: the size of an array indexed by action.
const ActionCount = int(actionEnd)

func (a Action) String() string {
	if a > 0 && a < actionEnd {
		return actions[a].name
	}
	return "UnknownAction"
}

// Group tells the class of an action.
func (a Action) Group() Group {
	if a > 0 && a < actionEnd {
		return actions[a].group
	}
	return 0
}

// OnKey tells whether the action's resource is a key, not a namespace.
func (a Action) OnKey() bool { return a > 0 && a < actionEnd && actions[a].key }

// OnSecret tells whether the action is about one secret, or a folder of them, which is named by its path.
func (a Action) OnSecret() bool { return a == ReadSecret || a.Group() == SecretGroup }

// ParseAction reads the name of an action.
func ParseAction(s string) (Action, error) {
	for a := CreateKey; a < actionEnd; a++ {
		if actions[a].name == s {
			return a, nil
		}
	}
	return 0, Errorf(CodeBadRequest, "%q is not an action", clip(s))
}

func (g Group) String() string {
	switch g {
	case UseGroup:
		return "UseKey"
	case ManageGroup:
		return "ManageKey"
	case ReadGroup:
		return "Read"
	case AuditGroup:
		return "Audit"
	case AdminGroup:
		return "Administer"
	case OperatorGroup:
		return "Operate"
	case SelfGroup:
		return "Self"
	case ExceptionGroup:
		return "Exception"
	case SecretGroup:
		return "ManageSecrets"
	}
	return "UnknownGroup"
}

// AllGroups lists every group.
func AllGroups() []Group {
	return []Group{UseGroup, ManageGroup, ReadGroup, AuditGroup, AdminGroup, OperatorGroup, SelfGroup, ExceptionGroup, SecretGroup}
}
