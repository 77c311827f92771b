package archtest

// A row places one package. Paths of this module are relative to its root, all others are import paths of other modules.
type row struct {
	path string
	may  []string // what of this module it imports
	ext  []string // what of other modules it imports, by prefix
}

// A layer is a group of packages.
type layer struct {
	name string
	rows []row
}

// table is the architecture. A package may import what stands below it, in its layer or in a lower one, if its row says so.
// The permissions to read secrets (internal/secret/reveal, internal/secret/release) are not in it: see readers and releasers.
var table = []layer{
	{"programs", []row{
		{path: "cmd/keyhold", may: []string{"internal/cli", "internal/config", "internal/kms", "internal/node", "internal/server"}, ext: []string{"github.com/spf13/cobra"}},
		{path: "cmd/keyhold-verify", may: []string{"internal/audit/tree", "internal/audit/verify"}},
	}},
	{"assembly: the parts list of a server, the command line", []row{
		{path: "internal/node", may: []string{"internal/audit", "internal/audit/cosign", "internal/audit/sink", "internal/audit/tree", "internal/audit/witness", "internal/authn", "internal/authn/oidc", "internal/config", "internal/dialect/aws", "internal/dialect/native", "internal/dialect/vault", "internal/engine", "internal/kms", "internal/login", "internal/login/certificate", "internal/login/jwt", "internal/login/kubernetes", "internal/login/userpass",
			"internal/provider/soft", "internal/records", "internal/seal", "internal/seal/keyfile", "internal/secret", "internal/secret/arena", "internal/server", "internal/store", "internal/store/pebble", "internal/tlsca"},
			ext: []string{"golang.org/x/mod/sumdb/note"}},
		{path: "internal/cli", may: []string{"client", "client/envelope", "internal/audit/verify", "internal/config", "internal/inventory", "internal/kms", "internal/migrate", "internal/seal/keyfile", "internal/secret",
			"internal/transfer", "internal/transport", "internal/wire/blob"},
			ext: []string{"github.com/spf13/cobra", "github.com/spf13/pflag", "golang.org/x/sys", "golang.org/x/term"}},
		{path: "internal/migrate", may: []string{"internal/kms", "internal/secret", "internal/wire/transit"}, ext: []string{"github.com/go-json-experiment/json"}},
		{path: "internal/inventory", may: []string{"client", "internal/kms"}},
		{path: "internal/server", may: []string{"internal/authn", "internal/config", "internal/kms", "internal/tlsca"},
			ext: []string{"github.com/prometheus/client_golang", "golang.org/x/sys", "golang.org/x/time"}},
		{path: "internal/tlsca"},
		{path: "internal/config", may: []string{"internal/kms"}, ext: []string{"go.yaml.in/yaml/v3"}},
	}},
	{"edge: who calls, and in which words", []row{
		{path: "internal/dialect/aws", may: []string{"internal/authn", "internal/authn/oidc", "internal/engine", "internal/kms", "internal/secret"}, ext: []string{"github.com/go-json-experiment/json"}},
		{path: "internal/dialect/native", may: []string{"api/keyhold/v1", "api/keyhold/v1/keyholdv1connect", "internal/engine", "internal/kms", "internal/secret", "internal/wire/blob"},
			ext: []string{"connectrpc.com/connect", "google.golang.org/protobuf"}},
		{path: "internal/dialect/vault", may: []string{"internal/engine", "internal/kms", "internal/login", "internal/secret", "internal/wire/transit"}, ext: []string{"github.com/go-json-experiment/json"}},
		{path: "internal/login/jwt", may: []string{"internal/authn/oidc", "internal/kms", "internal/login"}, ext: []string{"github.com/go-json-experiment/json"}},
		{path: "internal/login/kubernetes", may: []string{"internal/authn/oidc", "internal/kms", "internal/login", "internal/secret"}, ext: []string{"github.com/go-json-experiment/json"}},
		{path: "internal/login/certificate", may: []string{"internal/kms", "internal/login"}, ext: []string{"github.com/go-json-experiment/json"}},
		{path: "internal/authn", may: []string{"internal/authn/oidc", "internal/kms", "internal/secret", "internal/wire/token"}, ext: []string{"github.com/spiffe/go-spiffe/v2/spiffeid", "golang.org/x/time"}},
		{path: "internal/authn/oidc", may: []string{"internal/kms"}, ext: []string{"github.com/go-jose/go-jose/v4"}},
	}},
	{"public: for clients", []row{
		{path: "client/envelope", may: []string{"client", "client/envelope/internal/floe"}, ext: []string{"golang.org/x/crypto/argon2"}},
		{path: "client/envelope/internal/floe"},
		{path: "client", may: []string{"api/keyhold/v1", "api/keyhold/v1/keyholdv1connect"}, ext: []string{"connectrpc.com/connect", "google.golang.org/protobuf"}},
		{path: "api/keyhold/v1/keyholdv1connect", may: []string{"api/keyhold/v1"}, ext: []string{"connectrpc.com/connect"}},
		{path: "api/keyhold/v1", ext: []string{"google.golang.org/protobuf"}},
	}},
	{"engine: the path", []row{
		{path: "internal/engine", may: []string{"internal/approval", "internal/audit", "internal/audit/receipt", "internal/audit/tree", "internal/box", "internal/cache", "internal/clock", "internal/datakey", "internal/keyring", "internal/kms", "internal/lifecycle", "internal/login", "internal/policy", "internal/policy/iam",
			"internal/provider", "internal/records", "internal/rotation", "internal/seal", "internal/seal/keyfile", "internal/secret", "internal/secret/arena", "internal/store", "internal/usage", "internal/wire/blob", "internal/wire/token",
			"internal/wire/transit", "internal/transport"},
			ext: []string{"github.com/go-json-experiment/json", "golang.org/x/mod/sumdb/note", "golang.org/x/time"}},
	}},
	{"domain: keys, decisions, the trail", []row{
		{path: "internal/usage", may: []string{"internal/audit", "internal/kms", "internal/records"}},
		{path: "internal/keyring", may: []string{"internal/box", "internal/cache", "internal/kms", "internal/provider", "internal/records", "internal/seal", "internal/secret"}},
		{path: "internal/records", may: []string{"internal/approval", "internal/kms", "internal/seal", "internal/store"}, ext: []string{"github.com/go-json-experiment/json", "google.golang.org/protobuf"}},
		{path: "internal/policy", may: []string{"internal/kms", "internal/policy/acl", "internal/policy/iam"}, ext: []string{"github.com/cedar-policy/cedar-go"}},
		{path: "internal/policy/acl", may: []string{"internal/kms"}, ext: []string{"github.com/cedar-policy/cedar-go", "github.com/hashicorp/hcl"}},
		{path: "internal/policy/iam", may: []string{"internal/kms"}, ext: []string{"github.com/cedar-policy/cedar-go"}},
		{path: "internal/rotation", may: []string{"internal/kms"}},
		{path: "internal/lifecycle", may: []string{"internal/kms"}},
		{path: "internal/datakey"},
		{path: "internal/approval", may: []string{"internal/kms"}},
		{path: "internal/login/userpass", may: []string{"internal/kms", "internal/login", "internal/secret"}, ext: []string{"golang.org/x/crypto/argon2"}},
		{path: "internal/login", may: []string{"internal/secret"}},
		{path: "internal/audit/sink", may: []string{"internal/audit", "internal/audit/segment", "internal/audit/tree", "internal/kms"},
			ext: []string{"golang.org/x/sys", "google.golang.org/protobuf"}},
		{path: "internal/audit/cosign", may: []string{"internal/audit", "internal/audit/tree"}},
		{path: "internal/audit/witness", may: []string{"internal/audit/disk", "internal/audit/tree"}, ext: []string{"golang.org/x/mod/sumdb/note"}},
		{path: "internal/audit/verify", may: []string{"internal/audit", "internal/audit/receipt", "internal/audit/segment", "internal/audit/tree", "internal/kms"}, ext: []string{"golang.org/x/mod/sumdb/note"}},
		{path: "internal/audit/receipt", may: []string{"internal/kms"}, ext: []string{"golang.org/x/mod/sumdb/note"}},
		{path: "internal/audit", may: []string{"internal/audit/disk", "internal/audit/index", "internal/audit/segment", "internal/audit/tree", "internal/gather", "internal/kms"}, ext: []string{"golang.org/x/mod/sumdb/note"}},
	}},
	{"drivers: secrets, roots, disks", []row{
		{path: "internal/provider/soft", may: []string{"internal/box", "internal/kdf", "internal/kms", "internal/mode", "internal/provider", "internal/secret", "internal/transport", "internal/wire/blob"},
			ext: []string{"filippo.io/mldsa", "github.com/cloudflare/circl/kem", "github.com/cloudflare/circl/sign", "github.com/decred/dcrd/dcrec/secp256k1/v4", "golang.org/x/crypto/chacha20poly1305"}},
		{path: "internal/provider", may: []string{"internal/box", "internal/kms", "internal/secret", "internal/transport"}},
		{path: "internal/seal", may: []string{"internal/box", "internal/kdf", "internal/kms", "internal/seal/passphrase", "internal/seal/shares", "internal/secret", "internal/secret/arena"},
			ext: []string{"golang.org/x/crypto/cryptobyte", "golang.org/x/mod/sumdb/note"}},
		{path: "internal/seal/keyfile", may: []string{"internal/kms", "internal/secret"}},
		{path: "internal/seal/passphrase", may: []string{"internal/kms", "internal/secret"}, ext: []string{"golang.org/x/crypto/argon2", "golang.org/x/crypto/cryptobyte"}},
		{path: "internal/seal/shares", may: []string{"internal/kms", "internal/secret"}},
		{path: "internal/store/pebble", may: []string{"internal/gather", "internal/store"}, ext: []string{"github.com/cockroachdb/pebble/v2"}},
		{path: "internal/store/mem", may: []string{"internal/store"}},
		{path: "internal/store", may: []string{"internal/kms"}},
		{path: "internal/audit/tree", ext: []string{"golang.org/x/mod/sumdb/note", "golang.org/x/mod/sumdb/tlog"}},
		{path: "internal/audit/index"},
		{path: "internal/audit/segment", ext: []string{"github.com/klauspost/compress/zstd"}},
		{path: "internal/audit/disk"},
	}},
	{"words: vocabulary, codecs, secret bytes", []row{
		{path: "internal/transfer", may: []string{"internal/kms", "internal/secret", "internal/transport"},
			ext: []string{"golang.org/x/crypto/scrypt", "software.sslmate.com/src/go-pkcs12"}},
		{path: "internal/transport", may: []string{"internal/kdf", "internal/kms", "internal/mode", "internal/secret"}},
		{path: "internal/wire/transit", may: []string{"internal/kms", "internal/secret"}, ext: []string{"github.com/go-json-experiment/json"}},
		{path: "internal/wire/blob", may: []string{"internal/box", "internal/kms"}},
		{path: "internal/wire/token", may: []string{"internal/kms"}},
		{path: "internal/box", may: []string{"internal/kdf", "internal/secret"}, ext: []string{"golang.org/x/crypto/chacha20poly1305"}},
		{path: "internal/secret/arena", may: []string{"internal/secret"}, ext: []string{"golang.org/x/sys/unix"}},
		{path: "internal/kdf", may: []string{"internal/secret"}},
		{path: "internal/secret"},
		{path: "internal/secret/reveal"},
		{path: "internal/secret/release"},
		{path: "internal/cache"},
		{path: "internal/gather"},
		{path: "internal/clock", ext: []string{"golang.org/x/sys"}},
		{path: "internal/mode", may: []string{"internal/kms"}},
		{path: "internal/kms"},
	}},
}

// tests are the packages that tests share, beside those below test/. Nothing else imports them; they may import what they like.
var tests = []string{
	"internal/archtest",
	"internal/audit/audittest",
	"internal/authn/oidc/oidctest",
	"internal/audit/disk/disktest",
	"internal/box/boxtest",
	"internal/dialect/aws/awstest",
	"internal/dialect/native/nativetest",
	"internal/dialect/statetest",
	"internal/dialect/vault/vaulttest",
	"internal/doctest",
	"internal/provider/providertest",
	"internal/seal/sealtest",
	"internal/store/storetest",
}

const (
	reveal  = "internal/secret/reveal"
	release = "internal/secret/release"
)

// readers may read key material and other secrets, each for its reason.
var readers = map[string]string{
	"internal/secret":           "defines the type that the permission is for",
	"internal/secret/arena":     "moves secrets from the heap to memory of their own",
	"internal/login/jwt":        "verifies the token that somebody else signed",
	"internal/login/kubernetes": "asks a cluster whose a token is, with a token of its own",
	"internal/login/userpass":   "hashes passwords, to compare them with what is kept of them",
	"internal/authn":            "derives signing keys from the secret of an access key",
	"internal/box":              "hands keys to the ciphers",
	"internal/provider/soft":    "uses keys",
	"internal/transport":        "wraps material for other systems, and opens what they wrapped",
	"internal/wire/transit":     "writes material as a backup or an export in the clear has it",
	"internal/seal":             "opens and closes the root key and what stands below it",
	"internal/seal/keyfile":     "writes a seed to its file",
	"internal/seal/passphrase":  "stretches a passphrase",
	"internal/seal/shares":      "splits a seed and reads shares",
	"internal/engine":           "hashes a one-time code, to compare it with its digest; derives from an agreed value; copies out what an operation releases",
	"internal/cli":              "sends a key file's seed to the server that it unseals",
	"internal/migrate":          "carries keys from one server to another, and shows both a token",
}

// releasers may read what an operation gives out by design.
var releasers = map[string]string{
	"internal/secret":         "defines the type that the permission is for",
	"internal/dialect/aws":    "writes answers to their callers",
	"internal/dialect/native": "writes answers to their callers",
	"internal/dialect/vault":  "writes answers to their callers",
	"internal/migrate":        "carries a backup, made of what another server exported, to the server that restores it",
	"internal/node":           "writes the shares and the credentials of a development server to its files",
}

// jitter says who may use randomness that is not secret: nothing that it makes protects anything.
var jitter = map[string]string{
	"client":                "spreads retries",
	"internal/audit/cosign": "spreads retries",
	"internal/audit/sink":   "spreads retries",
	"internal/migrate":      "spreads retries",
	"internal/server":       "makes request ids, which name and protect nothing",
}

// A ban is a rule beside the table.
type ban struct {
	path    string   // the package, or everything below it if it ends in a slash
	imports []string // packages, or everything below if they end in a slash
	why     string
}

var bans = []ban{
	{"internal/dialect/", []string{"internal/store/", "internal/provider/", "internal/keyring/", "internal/audit/", "internal/seal/", "internal/records/", "internal/policy/",
		"internal/lifecycle/", "internal/box/"}, "a dialect translates: every operation on a key goes through the engine"},
	{"internal/engine", []string{"net/http/", "os/", "net", "api/", "internal/dialect/", "internal/authn/", "internal/server/"}, "the engine knows no wire and no machine"},
	{"internal/kms", []string{"os/", "net", "net/http/", "context", "io/fs", "syscall"}, "the vocabulary does no I/O and waits for nothing"},
	{"internal/rotation", []string{"os/", "net", "net/http/", "context", "io/fs", "syscall"}, "decisions are pure"},
	{"internal/lifecycle", []string{"os/", "net", "net/http/", "context", "io/fs", "syscall"}, "decisions are pure"},
	{"internal/policy", []string{"os/", "net", "net/http/", "context", "io/fs", "syscall"}, "decisions are pure"},
	{"internal/keyring", []string{"internal/policy/", "internal/audit/"}, "what exists is not who may use it"},
	{"internal/provider/", []string{"internal/store/", "internal/policy/"}, "a provider uses keys; it does not keep them"},
	{"internal/seal/", []string{"internal/engine/"}, "the root stands below everything"},
	{"internal/audit/", []string{"internal/secret/"}, "records hold digests"},
	{"internal/store/", []string{"internal/seal/", "internal/records/", "internal/secret/"}, "a store keeps bytes whose meaning it does not know"},
	{"client", []string{"internal/"}, "a client library is built from what is public"},
	{"api/", []string{"internal/"}, "what is public stands by itself"},
	{"cmd/", []string{"internal/store/", "internal/keyring/", "internal/provider/", "internal/seal/"}, "programs hold no logic"},
}

// clockless packages are told what time it is.
var clockless = []string{"internal/usage", "internal/kms", "internal/lifecycle", "internal/rotation", "internal/policy", "internal/box", "internal/mode", "internal/records", "internal/keyring", "internal/provider", "internal/provider/soft", "internal/transport",
	"internal/seal", "internal/seal/shares", "internal/seal/passphrase", "internal/seal/keyfile", "internal/wire/blob", "internal/wire/token", "internal/wire/transit", "internal/cache", "internal/datakey",
	"internal/transfer"}

// leanPrograms must not link what they do not need, even indirectly.
var leanPrograms = map[string][]string{
	"cmd/keyhold-verify":    {"net/http", "crypto/tls", "github.com/cockroachdb/", "github.com/cedar-policy/", "connectrpc.com/", "google.golang.org/", "github.com/spf13/"},
	"internal/audit/verify": {"net/http", "crypto/tls", "github.com/cockroachdb/", "github.com/cedar-policy/", "connectrpc.com/", "google.golang.org/"},
	"internal/kms":          {"net/http", "os/exec", "github.com/", "golang.org/", "google.golang.org/", "connectrpc.com/"},
	"client":                {"github.com/cockroachdb/", "github.com/cedar-policy/", "github.com/spf13/", "github.com/prometheus/"},
}

// invariants are those of ARCHITECTURE.md, with the tests named after them.
var invariants = []struct {
	says string
	test string
	in   string
}{
	{"No path around the path", "TestNoPathAroundThePath", "internal/archtest"},
	{"Nothing leaves unrecorded", "TestNothingLeavesUnrecorded", "internal/engine"},
	{"A change and its record are one transaction", "TestAChangeAndItsRecordAreOneTransaction", "internal/engine"},
	{"State decides, in one table", "TestStateDecidesInOneTable", "internal/engine"},
	{"Plaintext key material exists only in provider and seal", "TestPlaintextMaterialStaysInProviderAndSeal", "internal/engine"},
	{"Every stored record is sealed and bound to its place", "TestRecordsAreSealedAndBoundToTheirPlace", "internal/engine"},
	{"A wrong key is never used silently", "TestAWrongKeyIsNeverUsedSilently", "internal/engine"},
	{"Destroyed stays destroyed", "TestDestroyedStaysDestroyed", "internal/engine"},
	{"At least two ways back in", "TestAtLeastTwoWaysBackIn", "internal/engine"},
	{"No unbounded anything", "TestNothingIsUnbounded", "internal/engine"},
}
