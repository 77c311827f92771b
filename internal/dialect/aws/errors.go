package aws

import (
	"fmt"
	"strconv"

	"github.com/keyhold/keyhold/internal/kms"
)

// wireError says which error of AWS stands for one of ours.
type wireError struct {
	code    string
	message func(x *exchange, e *kms.Error) string // AWS's own words; nil: ours
	silent  bool                                   // AWS sends no message: nothing is to be learnt
}

// kindErrors is the one table from a kind of error to the error of AWS.
var kindErrors = [...]wireError{
	kms.KindInvalid:         {code: "ValidationException"},
	kms.KindUnauthenticated: {code: "UnrecognizedClientException", message: words("The security token included in the request is invalid.")},
	kms.KindDenied:          {code: "AccessDeniedException"},
	kms.KindNotFound:        {code: "NotFoundException"},
	kms.KindConflict:        {code: "ConflictException"},
	kms.KindState:           {code: "KMSInvalidStateException"},
	kms.KindUnsupported:     {code: "UnsupportedOperationException"},
	kms.KindIntegrity:       {code: "KMSInternalException", message: words("The server found stored data damaged.")},
	kms.KindLimited:         {code: "ThrottlingException", message: words("Rate exceeded")},
	kms.KindUnavailable:     {code: "DependencyTimeoutException", message: words("The server cannot carry out the request at the moment.")},
	kms.KindInternal:        {code: "KMSInternalException", message: words("The server failed to carry out the request.")},
}

// codeErrors are single codes for which AWS has a closer word than for their kind.
var codeErrors = map[kms.Code]wireError{
	kms.CodeUnauthenticated:     {code: "MissingAuthenticationTokenException", message: words("Missing Authentication Token")},
	kms.CodeCredentialUnknown:   {code: "UnrecognizedClientException", message: words("The security token included in the request is invalid.")},
	kms.CodeSignatureIncomplete: {code: "IncompleteSignatureException"},
	kms.CodeSignature:           {code: "InvalidSignatureException"},
	kms.CodeSignatureTime:       {code: "InvalidSignatureException"},
	kms.CodeExpired:             {code: "ExpiredTokenException", message: words("The security token included in the request is expired")},

	kms.CodeKeyNotFound:           {code: "NotFoundException", message: notFound},
	kms.CodeKeyDestroyed:          {code: "NotFoundException", message: notFound},
	kms.CodeKeyDisabled:           {code: "DisabledException", message: theKey("is disabled.")},
	kms.CodeKeySuspended:          {code: "DisabledException", message: theKey("is disabled.")},
	kms.CodeKeyPendingImport:      {code: "KMSInvalidStateException", message: theKey("is pending import.")},
	kms.CodeMaterialExpired:       {code: "KMSInvalidStateException", message: theKey("is pending import.")},
	kms.CodeTooOld:                {code: "KMSInvalidStateException", message: theKey("is not in a state that permits it.")},
	kms.CodeVersionState:          {code: "KMSInvalidStateException", message: theKey("is not in a state that permits it.")},
	kms.CodeImported:              {code: "UnsupportedOperationException", message: theKey("origin is EXTERNAL which is not valid for this operation.")},
	kms.CodeExists:                {code: "AlreadyExistsException"},
	kms.CodeImportToken:           {code: "InvalidImportTokenException"},
	kms.CodeCheckValue:            {code: "IncorrectKeyMaterialException"},
	kms.CodeBadCiphertext:         {code: "InvalidCiphertextException", silent: true},
	kms.CodeDecryptFailed:         {code: "InvalidCiphertextException", silent: true},
	kms.CodeWrongKey:              {code: "IncorrectKeyException", message: words("The key ID in the request does not identify a CMK that can perform this operation.")},
	kms.CodeBadSignature:          {code: "KMSInvalidSignatureException", silent: true},
	kms.CodeBadMAC:                {code: "KMSInvalidMacException", silent: true},
	kms.CodeAlgorithm:             {code: "InvalidKeyUsageException", message: wrongUsage},
	kms.CodeUsage:                 {code: "InvalidKeyUsageException", message: wrongUsage},
	kms.CodeTooLarge:              {code: "ValidationException", message: tooLarge},
	kms.CodeBadPolicy:             {code: "MalformedPolicyDocumentException"},
	kms.CodeCryptoperiod:          {code: "KMSInvalidStateException"},
	kms.CodeSealed:                {code: "KeyUnavailableException", message: words("The server is sealed.")},
	kms.CodeNotInitialised:        {code: "KeyUnavailableException", message: words("The server is not initialised.")},
	kms.CodeStopping:              {code: "KeyUnavailableException", message: words("The server is stopping.")},
	kms.CodeSelfTest:              {code: "KMSInternalException", message: words("A new key did not pass its test; nothing was changed.")},
	kms.CodeKeyPendingDestruction: {code: "KMSInvalidStateException", message: theKey("is pending deletion.")},
	kms.CodeNamespacePending:      {code: "KMSInvalidStateException", message: words("The account is going to be destroyed.")},
	kms.CodeNamespaceDestroyed:    {code: "KMSInvalidStateException", message: words("The account was destroyed.")},
}

func words(s string) func(*exchange, *kms.Error) string {
	return func(*exchange, *kms.Error) string { return s }
}

func theKey(is string) func(*exchange, *kms.Error) string {
	return func(x *exchange, e *kms.Error) string { return x.named(e) + " " + is }
}

// named is the ARN of the key that an error is about, or what the caller called it.
func (x *exchange) named(e *kms.Error) string {
	if !e.Key.IsZero() {
		return x.keyARN(e.Key)
	}
	return x.asked
}

func notFound(x *exchange, _ *kms.Error) string {
	if name, is := isAlias(x.asked); is {
		return "Alias " + x.aliasARN(name) + " is not found."
	}
	return "Key '" + x.askedARN() + "' does not exist"
}

// wrongUsage says what the key is for, or which key spec does not go with the algorithm that was asked for.
func wrongUsage(x *exchange, e *kms.Error) string {
	switch spec := specOf(e.Of.Algorithm, e.Of.Usage); {
	case spec == nil:
		return x.named(e) + " key usage or key spec is not valid for " + x.operation + "."
	case e.Code == kms.CodeAlgorithm && x.algorithm != "":
		return "Algorithm " + x.algorithm + " is incompatible with key spec " + spec.spec + "."
	default:
		return x.named(e) + " key usage is " + spec.usage + " which is not valid for " + x.operation + "."
	}
}

// tooLarge is a plaintext that does not fit into one block of RSA (RFC 8017 §7.1.1 step 1b).
func tooLarge(x *exchange, e *kms.Error) string {
	spec, label := specOf(e.Of.Algorithm, e.Of.Usage), oaepLabels[x.algorithm]
	if spec == nil || label == 0 {
		return e.What
	}
	most := e.Of.Algorithm.Facts().Bits/8 - 2*label - 2
	return "Algorithm " + x.algorithm + " and key spec " + spec.spec + " cannot encrypt data larger than " + strconv.Itoa(most) + " bytes."
}

// oaepLabels are the sizes of the hash in the encryption algorithms of RSA, in bytes.
var oaepLabels = map[string]int{"RSAES_OAEP_SHA_1": 20, "RSAES_OAEP_SHA_256": 32}

// wireErrorOf finds the error of AWS.
func wireErrorOf(c kms.Code) wireError {
	if w, ok := codeErrors[c]; ok {
		return w
	}
	return kindErrors[c.Kind()]
}

// fault is the error of AWS that stands for any error. Behind AWS's own words, where it has any, stand ours: the stable code, what
// happened, what to do next, and the decision by which an administrator can have it explained.
func (x *exchange) fault(err error) *fault {
	if f, is := err.(*fault); is { //nolint:errorlint // faults are made here and never wrapped
		return f
	}
	e := kms.AsError(err)
	w := wireErrorOf(e.Code)
	if w.silent {
		return newFault(w.code, "")
	}
	ours := fmt.Sprintf("%s %s: %s", e.Code, e.Code.Title(), e.What)
	if e.Kind() == kms.KindUnauthenticated || e.Kind() == kms.KindInternal {
		ours = e.Code.String()
	} else if next := e.Advice(); next != "" {
		ours += "; " + next
	}
	if e.Decision != "" {
		ours += "; decision " + e.Decision
	}
	if !e.Approval.IsZero() {
		ours += "; approval " + e.Approval.String()
	}
	if w.message == nil {
		return newFault(w.code, e.What+" ("+ours+")")
	}
	return newFault(w.code, w.message(x, e)+" ("+ours+")")
}
