package kms

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Kind is the class of an error. The set is closed: each dialect owns one table from
// kind to its wire error, and a test that ranges over AllKinds.
type Kind uint8

// The kinds.
const (
	KindInvalid         Kind = iota + 1 // the request is malformed or breaks a limit
	KindUnauthenticated                 // who calls is not known
	KindDenied                          // known, but not allowed
	KindNotFound                        // no such key, version, policy, token
	KindConflict                        // it exists already, or changed meanwhile
	KindState                           // the key's state or switch forbids it
	KindUnsupported                     // the algorithm table or the profile forbids it
	KindIntegrity                       // a ciphertext, signature, MAC or record does not verify
	KindLimited                         // too often, too much: slow down
	KindUnavailable                     // sealed, disk full, store or audit log out of order: later
	KindInternal                        // our fault

	kindEnd
)

// AllKinds lists every kind.
func AllKinds() []Kind {
	var all []Kind
	for k := KindInvalid; k < kindEnd; k++ {
		all = append(all, k)
	}
	return all
}

func (k Kind) String() string {
	if k >= KindInvalid && k < kindEnd {
		return [...]string{"", "invalid", "unauthenticated", "denied", "not-found", "conflict", "state", "unsupported", "integrity", "limited", "unavailable", "internal"}[k]
	}
	return "unknown-kind"
}

// Code is the stable identity of an error: KH and four digits, the first of which is its kind's.
// docs/errors.md has a section for each.
type Code uint16

// The codes. Numbers are for ever; a code that is no longer used stays reserved.
const (
	CodeBadRequest    Code = 1001
	CodeBadName       Code = 1002
	CodeTooLarge      Code = 1003
	CodeBadPolicy     Code = 1004
	CodeBadToken      Code = 1005 // the form of an idempotency or page token
	CodeBadShare      Code = 1006
	CodeBadCiphertext Code = 1007 // not a Keyhold ciphertext, or cut short
	CodeBadSetting    Code = 1008
	CodeImportToken   Code = 1009 // unknown, used, over, or for another key
	CodeKeyFile       Code = 1010 // not a key in a form that is understood
	CodeDerivation    Code = 1016 // a derived key was asked without a context
	CodeMetadata      Code = 1011 // what a key of this namespace or template must say is missing

	CodeUnauthenticated Code = 1101
	CodeExpired         Code = 1102
	CodeLockedOut       Code = 1103

	// Of requests that are signed with an access key. AWS's clients are used to being told apart what is wrong.
	CodeCredentialUnknown   Code = 1104 // no such access key, or one that is no longer in force
	CodeSignatureIncomplete Code = 1105 // something of the signature is missing or malformed
	CodeSignature           Code = 1106 // the signature is not that of this request by this key
	CodeSignatureTime       Code = 1107 // signed too long ago, or in the future
	CodeIdentityToken       Code = 1108 // of an OpenID Connect issuer: it proves nothing here

	CodeDenied            Code = 1201
	CodeDuties            Code = 1202 // separation of duties
	CodeWithheld          Code = 1203
	CodeOutsideScope      Code = 1204
	CodeDevelopmentStore  Code = 1205
	CodeOnlyLocal         Code = 1206
	CodeNotOnThisListener Code = 1207
	CodeApprovalRequired  Code = 1208 // others have to approve the exact request first
	CodeNotApproved       Code = 1209 // an approval that is over, refused, used, too few, or of another request

	CodeKeyNotFound     Code = 1301
	CodeVersionNotFound Code = 1302
	CodeNotFound        Code = 1303

	CodeExists       Code = 1401
	CodeConflict     Code = 1402
	CodeTokenReused  Code = 1403
	CodeAlreadyDone  Code = 1404
	CodeInitialised  Code = 1405
	CodeStoreInUse   Code = 1406
	CodeBehindItsLog Code = 1407
	CodeClock        Code = 1408 // the machine's clock is not to be relied on
	CodeCampaign     Code = 1409 // another campaign of this key is under way, or none is
	CodeTooMany      Code = 1415 // there are as many as there can be

	CodeKeyDisabled           Code = 1501
	CodeKeyPendingDestruction Code = 1502
	CodeKeyDestroyed          Code = 1503
	CodeKeySuspended          Code = 1504
	CodeVersionState          Code = 1505
	CodeKeyPendingImport      Code = 1506
	CodeWindow                Code = 1507 // a destruction window that is too short or over
	CodeAssessment            Code = 1508 // no fresh report of what a destruction would reach
	CodeResidue               Code = 1509 // something is still under this version
	CodeTooOld                Code = 1516 // the version is below the least that may be used
	CodeCryptoperiod          Code = 1510 // the version has done what it may: operations or bytes
	CodeMaterialExpired       Code = 1511 // imported material whose time is over
	CodeNotExportable         Code = 1512
	CodeImported              Code = 1513 // the material is imported: the server does not replace it of its own accord
	CodeNamespacePending      Code = 1520 // the namespace will be destroyed, and takes no work
	CodeNamespaceDestroyed    Code = 1521

	CodeAlgorithm Code = 1601 // this key cannot do that
	CodeUsage     Code = 1602 // the key's one purpose is another
	CodeProfile   Code = 1603 // refused by the profile (FIPS)

	CodeDecryptFailed Code = 1701 // one code for every reason to fail
	CodeWrongKey      Code = 1702 // the ciphertext was made by another key
	CodeBadSignature  Code = 1703
	CodeBadMAC        Code = 1704
	CodeRecordDamaged Code = 1705 // a stored record does not open: named, never used
	CodeWrongShares   Code = 1706
	CodeLogAltered    Code = 1707
	CodeCheckValue    Code = 1708
	CodeSelfTest      Code = 1709 // a new version did not do what it must: it is not used

	CodeRateLimited Code = 1801
	CodeBusy        Code = 1802

	CodeSealed           Code = 1901
	CodeNotInitialised   Code = 1902
	CodeAuditUnavailable Code = 1903
	CodeStoreUnavailable Code = 1904
	CodeDiskFull         Code = 1905
	CodeUnrecorded       Code = 1906 // committed, not yet recorded
	CodeStopping         Code = 1907
	CodeRandomness       Code = 1908
	CodeOutcomeUnknown   Code = 1909
	CodeCancelled        Code = 1910
	CodeUnreachable      Code = 1911 // client side: no answer
	CodeIssuer           Code = 1912 // an issuer of identity tokens does not answer as it should
	CodeSource           Code = 1913 // client side: a server that keys are moved from does not answer as it should

	CodeInternal Code = 2001
)

// codeFacts: the kind, a short title, and what to do next unless the error says better.
type codeFacts struct {
	kind  Kind
	title string
	next  string
}

var codes = map[Code]codeFacts{
	CodeBadRequest:    {KindInvalid, "bad request", "correct the request; the command's --help shows the form"},
	CodeBadName:       {KindInvalid, "bad name", "choose a name of the form shown"},
	CodeTooLarge:      {KindInvalid, "too large", "send less, or encrypt the data with a data key and send only that"},
	CodeBadPolicy:     {KindInvalid, "bad policy", "correct the policy; keyhold policy check shows every finding without storing it"},
	CodeBadToken:      {KindInvalid, "bad token", "pass the token exactly as it was given"},
	CodeBadShare:      {KindInvalid, "bad share", "check the share against what was printed at init; each share is checked by itself"},
	CodeBadCiphertext: {KindInvalid, "not a ciphertext", "pass the ciphertext exactly as encrypt returned it"},
	CodeBadSetting:    {KindInvalid, "bad setting", "correct the configuration; keyhold config check FILE tests it without starting"},
	CodeImportToken:   {KindInvalid, "import token", "ask for a new one: keyhold key import-token NAME"},
	CodeKeyFile:       {KindInvalid, "not a key file", "pass a key as PEM, PKCS #8, PKCS #12, JWK or raw bytes; the message says what was seen"},
	CodeDerivation:    {KindInvalid, "derived key needs a context", "give the context of the request (base64), the same to protect and to process"},
	CodeMetadata:      {KindInvalid, "metadata missing", "say what the message names, for example --label owner=TEAM"},

	CodeUnauthenticated: {KindUnauthenticated, "not authenticated", "pass a valid token (KEYHOLD_TOKEN or --token-file) or a client certificate"},
	CodeExpired:         {KindUnauthenticated, "credential expired", "ask an administrator for a new token or certificate"},
	CodeLockedOut:       {KindUnauthenticated, "locked out", "wait for the time shown; an administrator can see the attempts in the audit log"},

	CodeCredentialUnknown:   {KindUnauthenticated, "access key unknown", "check AWS_ACCESS_KEY_ID and AWS_SESSION_TOKEN, or make a new key: keyhold credential access-key create"},
	CodeSignatureIncomplete: {KindUnauthenticated, "signature incomplete", "sign the request with AWS Signature Version 4, as every AWS SDK does"},
	CodeSignature:           {KindUnauthenticated, "signature does not match", "check the secret access key, and that nothing on the way changes the request"},
	CodeSignatureTime:       {KindUnauthenticated, "signed at another time", "set the clocks of client and server; AWS SDKs correct a wrong clock of theirs by themselves"},
	CodeIdentityToken:       {KindUnauthenticated, "identity token not valid", "compare issuer, audience and claims with the role's trust: keyhold credential role show NAME"},

	CodeDenied:            {KindDenied, "denied", "an administrator can run: keyhold policy explain DECISION"},
	CodeDuties:            {KindDenied, "separation of duties", "use another principal: who manages a key may not use it"},
	CodeWithheld:          {KindDenied, "withheld", "the key, the policy or the credential changed while the request ran; ask again"},
	CodeOutsideScope:      {KindDenied, "outside the token's scope", "use a token whose scope has this action"},
	CodeDevelopmentStore:  {KindDenied, "development store", "initialise a production store in another directory; a development store cannot be promoted"},
	CodeOnlyLocal:         {KindDenied, "only over the local socket", "run the command on the server's machine"},
	CodeNotOnThisListener: {KindDenied, "not on this listener", "use the address that serves this"},
	CodeApprovalRequired:  {KindDenied, "approval required", "ask for it by repeating the request with --request-approval; others give it"},
	CodeNotApproved:       {KindDenied, "not approved", "an approval holds for one exact request, once"},

	CodeKeyNotFound:     {KindNotFound, "key not found", "keyhold key list shows the keys you may see"},
	CodeVersionNotFound: {KindNotFound, "version not found", "keyhold key show NAME lists its versions"},
	CodeNotFound:        {KindNotFound, "not found", "list what there is and try again"},

	CodeExists:       {KindConflict, "exists already", "choose another name, or use the one that is there"},
	CodeConflict:     {KindConflict, "changed meanwhile", "read it again and repeat the change"},
	CodeTokenReused:  {KindConflict, "idempotency token reused", "use a new token for a different request"},
	CodeAlreadyDone:  {KindConflict, "already done", "nothing to do"},
	CodeInitialised:  {KindConflict, "already initialised", "unseal it: keyhold operator unseal"},
	CodeStoreInUse:   {KindConflict, "store in use", "stop the other server that uses this data directory"},
	CodeBehindItsLog: {KindConflict, "store is behind its audit log", "if this is a deliberate restore, start once with --accept-restore; otherwise treat it as an attack"},
	CodeClock:        {KindConflict, "the machine's clock is wrong", "set the clock of the server's machine, and keep it synchronised; keyhold operator status shows how it stands"},
	CodeCampaign:     {KindConflict, "campaign", "wait for the one that is under way"},
	CodeTooMany:      {KindConflict, "as many as there can be", "remove those that are not needed any more"},

	CodeKeyDisabled:           {KindState, "key disabled", "enable it: keyhold key enable NAME"},
	CodeKeyPendingDestruction: {KindState, "key pending destruction", "if it is still needed: keyhold key cancel-destroy NAME"},
	CodeKeyDestroyed:          {KindState, "key destroyed", "nothing: destruction cannot be undone"},
	CodeKeySuspended:          {KindState, "key suspended", "resume it: keyhold key resume NAME"},
	CodeTooOld:                {KindState, "version is below the least that may be used", "protect again with the newest version, or lower the key's least version"},
	CodeVersionState:          {KindState, "version's state forbids it", "keyhold key show NAME shows the state of each version"},
	CodeKeyPendingImport:      {KindState, "key has no material", "import its material: keyhold key import NAME FILE"},
	CodeWindow:                {KindState, "destruction window", "choose a window within the limits shown"},
	CodeAssessment:            {KindState, "no fresh assessment", "look first at what it would reach: keyhold key assess NAME"},
	CodeResidue:               {KindState, "still needed", "keyhold key retire NAME --version N --check shows what is left; re-wrap it, or force it with approvals"},
	CodeCryptoperiod:          {KindState, "cryptoperiod over", "rotate the key: keyhold key rotate NAME"},
	CodeMaterialExpired:       {KindState, "imported material expired", "import the same material again: keyhold key import NAME FILE --version VERSION"},
	CodeImported:              {KindState, "key is imported", "import a new version: keyhold key import NAME FILE"},
	CodeNotExportable:         {KindState, "not exportable", "only keys that were created exportable can be exported, and only wrapped"},
	CodeNamespacePending:      {KindState, "namespace pending destruction", "if it is still needed: keyhold namespace cancel-destroy NAME"},
	CodeNamespaceDestroyed:    {KindState, "namespace destroyed", "nothing: destruction cannot be undone; keyhold namespace receipt NAME shows what became of it"},

	CodeAlgorithm: {KindUnsupported, "algorithm cannot do that", "keyhold key algorithms shows what each can do"},
	CodeUsage:     {KindUnsupported, "wrong usage", "use a key made for this purpose: a key serves one"},
	CodeProfile:   {KindUnsupported, "refused by the profile", "choose an algorithm that the profile permits"},

	CodeDecryptFailed: {KindIntegrity, "decryption failed", "check ciphertext and encryption context: both must be exactly those of the encryption"},
	CodeWrongKey:      {KindIntegrity, "made by another key", "name the key that made the ciphertext"},
	CodeBadSignature:  {KindIntegrity, "signature does not verify", "check message, signature and algorithm"},
	CodeBadMAC:        {KindIntegrity, "MAC does not verify", "check message and MAC"},
	CodeRecordDamaged: {KindIntegrity, "stored record damaged", "keyhold store check names every damaged record; restore it from a backup"},
	CodeWrongShares:   {KindIntegrity, "shares do not open the root key", "check that all shares are of the current set"},
	CodeLogAltered:    {KindIntegrity, "audit log altered", "keep a copy of the directory and run keyhold-verify on it"},
	CodeCheckValue:    {KindIntegrity, "check value differs", "the material is not what was created; restore the record from a backup"},
	CodeSelfTest:      {KindIntegrity, "self-test failed", "nothing was changed; see keyhold doctor and the server's log"},

	CodeRateLimited: {KindLimited, "too many requests", "wait as long as Retry-After says"},
	CodeBusy:        {KindLimited, "busy", "retry in a moment"},

	CodeSealed:           {KindUnavailable, "sealed", "unseal it: keyhold operator unseal"},
	CodeNotInitialised:   {KindUnavailable, "not initialised", "initialise it on the server's machine: keyhold operator init"},
	CodeAuditUnavailable: {KindUnavailable, "audit log unavailable", "nothing is done without a record; see the server's log and keyhold doctor"},
	CodeStoreUnavailable: {KindUnavailable, "store unavailable", "see the server's log and keyhold doctor"},
	CodeDiskFull:         {KindUnavailable, "disk full", "free space on the data directory; the server goes on by itself"},
	CodeUnrecorded:       {KindUnavailable, "committed, not yet recorded", "the change is done; ask again with the same idempotency token when the audit log is back"},
	CodeStopping:         {KindUnavailable, "server is stopping", "retry against another server, or later"},
	CodeRandomness:       {KindUnavailable, "random source failed", "no key is made from a failed source; see keyhold doctor"},
	CodeOutcomeUnknown:   {KindUnavailable, "outcome unknown", "repeat the request with the same idempotency token"},
	CodeCancelled:        {KindUnavailable, "cancelled", "the caller gave up or the time ran out; repeat with the same idempotency token"},
	CodeUnreachable:      {KindUnavailable, "server unreachable", "check the address (KEYHOLD_ADDR, --addr) and that the server runs"},
	CodeSource:           {KindUnavailable, "trouble with the source", "check the source's address, authority, token, namespace and mount (keyhold migrate --help)"},
	CodeIssuer:           {KindUnavailable, "issuer unreachable", "see the server's log; the server must reach the issuer over TLS (oidc.issuers, oidc.ca_file)"},

	CodeInternal: {KindInternal, "internal error", "report it with the request id; the server's log has the details"},
}

// AllCodes lists every code in use.
func AllCodes() []Code {
	all := make([]Code, 0, len(codes))
	for c := range codes {
		all = append(all, c)
	}
	return all
}

// Kind tells the class of a code.
func (c Code) Kind() Kind {
	if f, ok := codes[c]; ok {
		return f.kind
	}
	return KindInternal
}

// Title is the short name of a code.
func (c Code) Title() string { return codes[c].title }

// Next is what to do about it, in general.
func (c Code) Next() string { return codes[c].next }

// ParseCode reads a code as String writes it.
func ParseCode(s string) (Code, error) {
	if digits, ok := strings.CutPrefix(s, "KH"); ok && len(digits) == 4 {
		n, err := strconv.ParseUint(digits, 10, 16)
		if _, known := codes[Code(n)]; known && err == nil {
			return Code(n), nil
		}
	}
	return 0, Errorf(CodeBadRequest, "%q is not an error code: want one like KH1201", clip(s))
}

func (c Code) String() string { return fmt.Sprintf("KH%04d", uint16(c)) }

// Error is what a caller may learn: a stable code, what happened, and what to do next. Its cause is for
// the server's log alone and never crosses a dialect.
type Error struct {
	Code     Code
	What     string // what happened and why, in terms of the request
	Next     string // what to do; empty: the code's own advice
	Decision string // the decision's id, for denials
	Approval ID     // under which approvals were asked for, with CodeApprovalRequired
	Key      ID     // the key that refuses it; zero: none, or not for the caller to know
	Of       Kinded // what that key is, where that is the reason; zero: it is not, or not for the caller to know
	RetryMS  int64  // milliseconds after which a retry makes sense; 0: unknown
	cause    error
}

// Kinded is what a key is and what it is for.
type Kinded struct {
	Algorithm Algorithm
	Usage     Usage
}

// Errorf makes an error of a code. It takes the verbs of fmt.Sprintf without %w: see Because.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, What: fmt.Sprintf(format, args...)}
}

// Because keeps the internal reason beside the error, for the log.
func (e *Error) Because(cause error) *Error {
	e.cause = cause
	return e
}

// Kind tells the class of the error.
func (e *Error) Kind() Kind { return e.Code.Kind() }

// Advice is what to do next.
func (e *Error) Advice() string {
	if e.Next != "" {
		return e.Next
	}
	return e.Code.Next()
}

// Error is the text for a caller; it holds no internal detail.
func (e *Error) Error() string { return e.Code.String() + " " + e.Code.Title() + ": " + e.What }

// Unwrap gives the internal reason.
func (e *Error) Unwrap() error { return e.cause }

// Is makes errors.Is(err, kms.Errorf(code, "")) compare codes.
func (e *Error) Is(target error) bool {
	var t *Error
	return errors.As(target, &t) && t.Code == e.Code
}

// AsError finds the Error in a chain, or wraps a foreign error as internal, keeping it as the cause.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return Errorf(CodeInternal, "the server failed to carry out the request").Because(err)
}

// CodeOf tells the code of an error: 0 for nil.
func CodeOf(err error) Code {
	if err == nil {
		return 0
	}
	return AsError(err).Code
}
