package iam

import (
	"strings"

	cast "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/keyhold/keyhold/internal/kms"
)

// family is what operators a condition key takes.
type family uint8

const (
	texts   family = iota + 1 // one text
	sets                      // any number of texts
	flags                     // true or false
	numbers                   // whole numbers
	moments                   // times
	addresses
)

func (f family) String() string {
	return [...]string{"", "a text", "a set of texts", "true or false", "a number", "a time", "an address"}[f]
}

// word is one value of a condition key that has a closed list of them, with what it is called here.
type word struct {
	aws  string
	ours []string
}

// subject is what a condition key asks about, in Cedar.
type subject struct {
	family family
	absent bool       // no request to this server carries it
	fixed  *string    // every request carries this
	has    *cast.Node // that the request carries it; nil: every request does
	value  cast.Node
	words  []word // closed list of values
	strip  string // what AWS's values begin with and ours do not
	arn    bool   // value is the name of a principal, AWS's is its ARN
	colon  bool   // ours have '.' where AWS's have ':'
}

func node(n cast.Node) *cast.Node { return &n }

func contextHas(name types.String) (*cast.Node, cast.Node) {
	return node(cast.Context().Has(name)), cast.Context().Access(name)
}

func optional(f family, name types.String) subject {
	has, v := contextHas(name)
	return subject{family: f, has: has, value: v}
}

func constant(f family, s string) subject { return subject{family: f, fixed: &s} }

func never(f family) subject { return subject{family: f, absent: true} }

// tagged is an entry of an entity of the context whose tags have their names in lower case.
func tagged(entity, name string) subject {
	e, tag := cast.Context().Access(types.String(entity)), cast.String(strings.ToLower(name))
	return subject{family: texts, has: node(e.HasTag(tag)), value: e.GetTag(tag)}
}

// ofKey is an attribute of the key. Some actions have no key.
func ofKey(f family, name types.String) subject {
	return subject{family: f, has: node(cast.Resource().Is("Key")), value: cast.Resource().Access(name)}
}

func (s subject) with(words []word) subject {
	s.words = words
	return s
}

func isRole() cast.Node {
	return cast.Principal().Access("name").Like(types.NewPattern(types.String(RolePrefix), types.Wildcard{}))
}

// prefixes are condition keys whose last part is a name that the policy's author chose.
var prefixes = []struct {
	prefix string
	entity string
}{
	{"kms:encryptioncontext:", "folded_encryption"},
	{"aws:resourcetag/", "folded_labels"},
	{"aws:requesttag/", "folded_new_labels"},
}

// lookup finds a condition key. The names of keys are not case-sensitive (IAM User Guide, "Condition"). wrong says why a key that
// AWS has cannot be asked about; known is false if there is no such key.
func (c *compiler) lookup(key string) (s subject, wrong string, known bool) {
	lower := strings.ToLower(key)
	for _, p := range prefixes {
		if rest, ok := strings.CutPrefix(lower, p.prefix); ok {
			if rest == "" {
				return s, "the key ends without a name", true
			}
			return tagged(p.entity, key[len(p.prefix):]), "", true
		}
	}
	if s, ok := c.subjects()[lower]; ok {
		return s, "", true
	}
	for prefix, why := range inexpressible {
		if strings.HasPrefix(lower, prefix) {
			return s, why, true
		}
	}
	return s, "", false
}

// inexpressible are keys of AWS, by how they begin, that no request to this server can answer.
var inexpressible = map[string]string{
	"aws:principaltag/":         "principals have no tags here",
	"aws:principalorg":          "there are no organizations here",
	"aws:principaltype":         "name users and roles by aws:PrincipalArn",
	"aws:userid":                "principals have no unique ids here: use aws:username or aws:PrincipalArn",
	"aws:multifactorauth":       "a signature does not tell of a second factor",
	"aws:tokenissuetime":        "sessions do not carry it",
	"aws:useragent":             "anybody can claim it",
	"aws:referer":               "anybody can claim it",
	"kms:recipientattestation:": "there are no attested recipients here",
	"kms:retiringserviceprin":   "no AWS service calls this server",
	"kms:granteeserviceprin":    "no AWS service calls this server",
	"kms:replicaregion":         "the request does not carry it for policies",
	"kms:primaryregion":         "the request does not carry it for policies",
	"kms:keyagreementalgorithm": "ECDH is the only one",
	"kms:validto":               "the request does not carry it for policies",
	"kms:expirationmodel":       "the request does not carry it for policies",
	"kms:wrapping":              "the request does not carry it for policies",
	"kms:rotationperiodindays":  "the request does not carry it for policies",
	"kms:multiregionkeytype":    "the region decides which copy a request is about: use aws:RequestedRegion",
}

// subjects are the condition keys by their names in lower case.
func (c *compiler) subjects() map[string]subject {
	username := subject{family: texts, has: node(cast.Not(isRole())), value: cast.Principal().Access("name")}
	principalARN := subject{family: texts, value: cast.Principal().Access("name"), arn: true}
	grantee, retiring := optional(texts, "grantee"), optional(texts, "retiring")
	grantee.arn, retiring.arn = true, true
	alias := optional(texts, "alias")
	alias.strip, alias.colon = "alias/", true
	aliases := ofKey(sets, "aliases")
	aliases.strip, aliases.colon = "alias/", true
	contextSet := func(name types.String) subject { return subject{family: sets, value: cast.Context().Access(name)} }
	now := subject{family: moments, value: cast.Context().Access("now")}
	sourceIP := optional(addresses, "source_ip")
	keySpec := ofKey(texts, "algorithm").with(keySpecs())
	keyUsage := ofKey(texts, "usage").with(keyUsages())

	return map[string]subject{
		"kms:encryptioncontextkeys": contextSet("encryption_names"),
		"kms:calleraccount":         constant(texts, c.account),
		"kms:viaservice":            never(texts), // no AWS service calls on anybody's behalf

		"kms:keyspec":                keySpec,
		"kms:customermasterkeyspec":  keySpec,
		"kms:keyusage":               keyUsage,
		"kms:customermasterkeyusage": keyUsage,
		"kms:keyorigin":              ofKey(texts, "origin").with(keyOrigins()),
		"kms:multiregion":            ofKey(flags, "multi_region"),
		"kms:requestalias":           alias,
		"kms:resourcealiases":        aliases,

		"kms:encryptionalgorithm":                    optional(texts, "scheme").with(encryptionAlgorithms()),
		"kms:signingalgorithm":                       optional(texts, "scheme").with(signingAlgorithms()),
		"kms:macalgorithm":                           optional(texts, "scheme").with(macAlgorithms()),
		"kms:messagetype":                            optional(texts, "message_type").with(messageTypes()),
		"kms:datakeypairspec":                        optional(texts, "pair").with(keySpecs()),
		"kms:schedulekeydeletionpendingwindowindays": optional(numbers, "window_days"),
		"kms:bypasspolicylockoutsafetycheck":         optional(flags, "bypass"),

		"kms:grantoperations":       contextSet("grant_operations").with(grantOperations()),
		"kms:granteeprincipal":      grantee,
		"kms:retiringprincipal":     retiring,
		"kms:grantconstrainttype":   optional(texts, "grant_constraint").with(same("EncryptionContextEquals", "EncryptionContextSubset")),
		"kms:grantisforawsresource": constant(flags, "false"),

		"aws:sourceip":              sourceIP,
		"aws:principalarn":          principalARN,
		"aws:principalaccount":      constant(texts, c.account),
		"aws:resourceaccount":       constant(texts, c.account),
		"aws:username":              username,
		"aws:tagkeys":               contextSet("new_label_names"),
		"aws:currenttime":           now,
		"aws:epochtime":             now,
		"aws:securetransport":       constant(flags, "true"), // every listener has TLS, and the local socket has no wire
		"aws:requestedregion":       optional(texts, "region"),
		"aws:viaawsservice":         constant(flags, "false"),
		"aws:principalisawsservice": constant(flags, "false"),
		"aws:calledvia":             {family: sets, absent: true},
		"aws:calledviafirst":        never(texts),
		"aws:calledvialast":         never(texts),
		"aws:sourcearn":             never(texts),
		"aws:sourceaccount":         never(texts),
		"aws:sourcevpc":             never(texts),
		"aws:sourcevpce":            never(texts),
	}
}

func same(values ...string) []word {
	all := make([]word, len(values))
	for i, v := range values {
		all[i] = word{v, []string{v}}
	}
	return all
}

func called[T interface{ String() string }](aws string, ours ...T) word {
	w := word{aws: aws}
	for _, o := range ours {
		w.ours = append(w.ours, o.String())
	}
	return w
}

// keySpecs are AWS's names of algorithms. A key of an algorithm that AWS does not have has none of them.
func keySpecs() []word {
	return []word{
		called("SYMMETRIC_DEFAULT", kms.AES256GCM), called("RSA_2048", kms.RSA2048), called("RSA_3072", kms.RSA3072), called("RSA_4096", kms.RSA4096),
		called("ECC_NIST_P256", kms.ECDSAP256, kms.ECDHP256), called("ECC_NIST_P384", kms.ECDSAP384, kms.ECDHP384),
		called("ECC_NIST_P521", kms.ECDSAP521, kms.ECDHP521), called("ECC_SECG_P256K1", kms.ECDSASecp256k1), called("ECC_NIST_EDWARDS25519", kms.Ed25519),
		called("HMAC_224", kms.HMACSHA224), called("HMAC_256", kms.HMACSHA256), called("HMAC_384", kms.HMACSHA384), called("HMAC_512", kms.HMACSHA512),
		called("ML_DSA_44", kms.MLDSA44), called("ML_DSA_65", kms.MLDSA65), called("ML_DSA_87", kms.MLDSA87),
		called("ML_KEM_512", kms.MLKEM512), called("ML_KEM_768", kms.MLKEM768), called("ML_KEM_1024", kms.MLKEM1024),
	}
}

func keyUsages() []word {
	return []word{
		called("ENCRYPT_DECRYPT", kms.EncryptDecrypt), called("SIGN_VERIFY", kms.SignVerify), called("GENERATE_VERIFY_MAC", kms.MAC),
		called("KEY_AGREEMENT", kms.KeyAgreement), called("ENCAPSULATE_DECAPSULATE", kms.Encapsulation),
	}
}

func keyOrigins() []word {
	return []word{called("AWS_KMS", kms.Generated), called("EXTERNAL", kms.Imported), called("AWS_CLOUDHSM", kms.HSM), called("EXTERNAL_KEY_STORE", kms.External)}
}

func encryptionAlgorithms() []word {
	return []word{called("SYMMETRIC_DEFAULT", kms.SchemeAESGCM), called("RSAES_OAEP_SHA_1", kms.SchemeOAEPSHA1), called("RSAES_OAEP_SHA_256", kms.SchemeOAEPSHA256)}
}

func signingAlgorithms() []word {
	return []word{
		called("RSASSA_PSS_SHA_256", kms.SchemePSSSHA256), called("RSASSA_PSS_SHA_384", kms.SchemePSSSHA384), called("RSASSA_PSS_SHA_512", kms.SchemePSSSHA512),
		called("RSASSA_PKCS1_V1_5_SHA_256", kms.SchemePKCS1SHA256), called("RSASSA_PKCS1_V1_5_SHA_384", kms.SchemePKCS1SHA384),
		called("RSASSA_PKCS1_V1_5_SHA_512", kms.SchemePKCS1SHA512),
		called("ECDSA_SHA_256", kms.SchemeECDSASHA256), called("ECDSA_SHA_384", kms.SchemeECDSASHA384), called("ECDSA_SHA_512", kms.SchemeECDSASHA512),
		called("ML_DSA_SHAKE_256", kms.SchemeMLDSA), called("ED25519_SHA_512", kms.SchemeEd25519), called("ED25519_PH_SHA_512", kms.SchemeEd25519ph),
	}
}

func macAlgorithms() []word {
	return []word{called("HMAC_SHA_224", kms.SchemeHMACSHA224), called("HMAC_SHA_256", kms.SchemeHMACSHA256),
		called("HMAC_SHA_384", kms.SchemeHMACSHA384), called("HMAC_SHA_512", kms.SchemeHMACSHA512)}
}

// MessageRaw and MessageDigest are what is signed, as conditions of policies see it.
const (
	MessageRaw    = "raw"
	MessageDigest = "digest"
	MessageMu     = "external-mu"
)

func messageTypes() []word {
	return []word{{"RAW", []string{MessageRaw}}, {"DIGEST", []string{MessageDigest}}, {"EXTERNAL_MU", []string{MessageMu}}}
}

func grantOperations() []word {
	var all []word
	for name := range Operations() {
		all = append(all, word{name, []string{name}})
	}
	return all
}
