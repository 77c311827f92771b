package aws

import (
	"context"
	"encoding/base32"
	"encoding/xml"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"crypto/sha256"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret/release"
)

// STS speaks the query protocol: a form in, XML out. What clients of KMS need of it is here; everything else is unknown.
const (
	stsVersion   = "2011-06-15"
	maxForm      = 64 << 10 // bytes
	maxFormItems = 128
)

// stsOperations are the operations of STS; form is what of it was read.
var stsOperations = map[string]func(x *exchange, ctx context.Context, r *http.Request, form url.Values) (any, *fault){
	"GetCallerIdentity": (*exchange).getCallerIdentity,
	"AssumeRole":        (*exchange).assumeRole,

	"AssumeRoleWithWebIdentity": (*exchange).assumeRoleWithWebIdentity,
}

// query answers a request of the query protocol.
func (x *exchange) query(w http.ResponseWriter, r *http.Request) {
	out, f := x.ask(r)
	if f != nil {
		x.writeSTSFault(w, f)
		return
	}
	b, err := xml.Marshal(out)
	if err != nil {
		x.writeSTSFault(w, newFault("KMSInternalException", "The server failed to carry out the request."))
		return
	}
	writeXML(w, http.StatusOK, b)
	clear(b)
}

func (x *exchange) ask(r *http.Request) (any, *fault) {
	form, f := formOf(r, x.body)
	if f != nil {
		return nil, f
	}
	name := form.Get("Action")
	do, ok := stsOperations[name]
	if !ok || form.Get("Version") != stsVersion {
		return nil, newFault("InvalidAction", "Could not find operation "+strconv.Quote(clipped(name))+" for version "+strconv.Quote(clipped(form.Get("Version"))))
	}
	x.operation = name
	return do(x, r.Context(), r, form)
}

func clipped(s string) string { return s[:min(len(s), 64)] }

// formOf reads the parameters, which stand in the body or, presigned, in the query string; each of them once.
func formOf(r *http.Request, body []byte) (url.Values, *fault) {
	bad := newFault("MalformedInput", "The request is not a form of at most "+strconv.Itoa(maxFormItems)+" parameters, each of them once")
	text := r.URL.RawQuery
	if len(body) > 0 {
		text += "&" + string(body)
	}
	if len(text) > maxForm || strings.Count(text, "&") > maxFormItems {
		return nil, bad
	}
	form, err := url.ParseQuery(text)
	if err != nil {
		return nil, bad
	}
	for _, values := range form {
		if len(values) != 1 {
			return nil, bad
		}
	}
	return form, nil
}

// stsMetadata is at the end of every answer.
type stsMetadata struct {
	RequestID string `xml:"RequestId"`
}

type getCallerIdentityResponse struct {
	XMLName  xml.Name    `xml:"https://sts.amazonaws.com/doc/2011-06-15/ GetCallerIdentityResponse"`
	Arn      string      `xml:"GetCallerIdentityResult>Arn"`
	UserID   string      `xml:"GetCallerIdentityResult>UserId"`
	Account  string      `xml:"GetCallerIdentityResult>Account"`
	Metadata stsMetadata `xml:"ResponseMetadata"`
}

// getCallerIdentity tells callers who they are. It needs no permission.
func (x *exchange) getCallerIdentity(ctx context.Context, r *http.Request, _ url.Values) (any, *fault) {
	if f := x.identify(r, serviceSTS); f != nil {
		return nil, f
	}
	who, err := x.engine.WhoAmI(ctx, x.call)
	if err != nil {
		return nil, x.fault(err)
	}
	arn, id := x.callerARN(who.Principal)
	return &getCallerIdentityResponse{Arn: arn, UserID: id, Account: x.account, Metadata: stsMetadata{x.call.RequestID}}, nil
}

const rolePrincipal = "role/"

// callerARN is the ARN of a principal, and the id that AWS would show beside it: made of the name, so that it stays the same.
func (x *exchange) callerARN(p *kms.Principal) (arn, id string) {
	if role, is := strings.CutPrefix(p.Name, rolePrincipal); is && p.Session != "" {
		return x.sessionARN(role, p.Session), uniqueID("AROA", x.account, role) + ":" + p.Session
	}
	return engine.PrincipalARN(p.Name, x.account), uniqueID("AIDA", x.account, p.Name)
}

func (x *exchange) sessionARN(role, session string) string {
	return "arn:aws:sts::" + x.account + ":assumed-role/" + role + "/" + session
}

func uniqueID(prefix, account, name string) string {
	sum := sha256.Sum256([]byte("keyhold: AWS unique id\x00" + prefix + account + "\x00" + name))
	return prefix + base32.StdEncoding.EncodeToString(sum[:10]) + "K"
}

type stsCredentials struct {
	AccessKeyID     string `xml:"AccessKeyId"`
	SecretAccessKey string
	SessionToken    string
	Expiration      string
}

type assumedRoleUser struct {
	AssumedRoleID string `xml:"AssumedRoleId"`
	Arn           string
}

type assumeRoleResponse struct {
	XMLName          xml.Name        `xml:"https://sts.amazonaws.com/doc/2011-06-15/ AssumeRoleResponse"`
	User             assumedRoleUser `xml:"AssumeRoleResult>AssumedRoleUser"`
	Credentials      stsCredentials  `xml:"AssumeRoleResult>Credentials"`
	PackedPolicySize int             `xml:"AssumeRoleResult>PackedPolicySize"`
	Metadata         stsMetadata     `xml:"ResponseMetadata"`
}

// unsupported are parameters that would restrict a session, or prove more than a signature does. To leave them out of account would give more than was asked for.
var unsupported = []string{"Policy", "PolicyArns.member.1.arn", "SerialNumber", "TokenCode", "ExternalId", "ProvidedContexts.member.1.ContextAssertion", "TransitiveTagKeys.member.1"}

// assumption reads what both ways of assuming a role have in common.
func assumption(form url.Values) (account string, in engine.AssumeRoleInput, f *fault) {
	for _, name := range unsupported {
		if form.Get(name) != "" {
			if name == "Policy" || strings.HasPrefix(name, "PolicyArns") {
				return "", in, newFault("MalformedPolicyDocument", "Session policies are not supported: give the role what its sessions may do, or make another role")
			}
			return "", in, newFault("ValidationError", "The parameter "+name+" is not supported")
		}
	}
	account, role, ok := roleOf(form.Get("RoleArn"))
	if !ok {
		return "", in, newFault("ValidationError", strconv.Quote(clipped(form.Get("RoleArn")))+" is invalid: a role is arn:aws:iam::ACCOUNT:role/NAME")
	}
	in = engine.AssumeRoleInput{Role: role, Session: form.Get("RoleSessionName")}
	if text := form.Get("DurationSeconds"); text != "" {
		seconds, err := strconv.ParseUint(text, 10, 31)
		if err != nil || seconds == 0 {
			return "", in, newFault("ValidationError", "DurationSeconds is not a number of seconds")
		}
		in.TTL = time.Duration(seconds) * time.Second //nolint:gosec // G115: 31 bits
	}
	return account, in, nil
}

// roleOf reads the ARN of a role.
func roleOf(arn string) (account, role string, ok bool) {
	rest, ok := strings.CutPrefix(arn, "arn:aws:iam::")
	if !ok {
		return "", "", false
	}
	account, role, ok = strings.Cut(rest, ":role/")
	return account, role, ok && len(account) == 12 && role != ""
}

// assumeRole begins a session of a role. Who may is the role's trust; a role of another account trusts nobody here.
func (x *exchange) assumeRole(ctx context.Context, r *http.Request, form url.Values) (any, *fault) {
	if f := x.identify(r, serviceSTS); f != nil {
		return nil, f
	}
	account, in, f := assumption(form)
	if f != nil {
		return nil, f
	}
	who, _ := x.callerARN(x.call.Principal)
	refused := newFault("AccessDenied", "User: "+who+" is not authorized to perform: sts:AssumeRole on resource: "+clipped(form.Get("RoleArn")))
	if account != x.account {
		return nil, refused
	}
	out, err := x.engine.AssumeRole(ctx, x.call, in)
	if err != nil {
		f := x.fault(err)
		if kms.AsError(err).Kind() == kms.KindDenied {
			refused.message += " (" + f.message + ")"
			return nil, refused
		}
		return nil, f
	}
	user, c := x.session(&out)
	return &assumeRoleResponse{User: user, Credentials: c, Metadata: stsMetadata{x.call.RequestID}}, nil
}

// session writes temporary credentials. They become strings, which cannot be erased: the encoder takes nothing else.
func (x *exchange) session(out *engine.SessionOutput) (assumedRoleUser, stsCredentials) {
	c := stsCredentials{AccessKeyID: out.AccessKey, SecretAccessKey: string(out.Secret.Wire(release.Wire{})), SessionToken: string(out.Token.Wire(release.Wire{})),
		Expiration: out.Expires.UTC().Format(time.RFC3339)}
	out.Secret.Zero()
	out.Token.Zero()
	return assumedRoleUser{AssumedRoleID: uniqueID("AROA", x.account, out.Role) + ":" + out.Session, Arn: x.sessionARN(out.Role, out.Session)}, c
}

// stsFault is how the query protocol names an error of the JSON protocol, and its status.
var stsFaults = map[string]struct {
	code   string
	status int
}{
	"UnrecognizedClientException":         {"InvalidClientTokenId", http.StatusForbidden},
	"InvalidSignatureException":           {"SignatureDoesNotMatch", http.StatusForbidden},
	"MissingAuthenticationTokenException": {"MissingAuthenticationToken", http.StatusForbidden},
	"IncompleteSignatureException":        {"IncompleteSignature", http.StatusBadRequest},
	"ExpiredTokenException":               {"ExpiredToken", http.StatusForbidden},
	"AccessDeniedException":               {"AccessDenied", http.StatusForbidden},
	"AccessDenied":                        {"AccessDenied", http.StatusForbidden},
	"ThrottlingException":                 {"Throttling", http.StatusBadRequest},
	"ValidationException":                 {"ValidationError", http.StatusBadRequest},
	"KMSInternalException":                {"InternalFailure", http.StatusInternalServerError},
	"KeyUnavailableException":             {"ServiceUnavailable", http.StatusServiceUnavailable},
	"DependencyTimeoutException":          {"ServiceUnavailable", http.StatusServiceUnavailable},
	"NotFoundException":                   {"AccessDenied", http.StatusForbidden},
	"ConflictException":                   {"ServiceUnavailable", http.StatusServiceUnavailable},
}

type errorResponse struct {
	XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
	Type      string   `xml:"Error>Type"`
	Code      string   `xml:"Error>Code"`
	Message   string   `xml:"Error>Message"`
	RequestID string   `xml:"RequestId"`
}

func (x *exchange) writeSTSFault(w http.ResponseWriter, f *fault) {
	code, status := f.code, http.StatusBadRequest
	if as, ok := stsFaults[f.code]; ok {
		code, status = as.code, as.status
	}
	side := "Sender"
	if status >= http.StatusInternalServerError {
		side = "Receiver"
	}
	b, err := xml.Marshal(&errorResponse{Type: side, Code: code, Message: f.message, RequestID: x.call.RequestID})
	if err != nil {
		status, b = http.StatusInternalServerError, nil
	}
	writeXML(w, status, b)
}

func writeXML(w http.ResponseWriter, status int, b []byte) {
	h := w.Header()
	h["Content-Type"] = []string{"text/xml"}
	h["Content-Length"] = []string{strconv.Itoa(len(b))}
	w.WriteHeader(status)
	_, _ = w.Write(b) //nolint:gosec // G705: encoding/xml wrote it, and it is no HTML; a caller that is gone cannot be told
}
