package inventory_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/inventory"
	"github.com/keyhold/keyhold/internal/kms"
)

// A shape is what the schema bom-1.6.schema.json of CycloneDX says of a value, as far as a bill of keys can have it: every object is closed, as there.
type shape struct {
	kind     string           // "object", "array", "string", "integer"
	required []string         // of an object
	members  map[string]shape // of an object: all that there can be
	items    *shape           // of an array
	enum     []string         // of a string
	pattern  *regexp.Regexp
	most     int // of an integer, where it is not 0
}

func oneOf(values ...string) shape { return shape{kind: "string", enum: values} }

var (
	text      = shape{kind: "string"}
	dateTime  = shape{kind: "string", pattern: regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`)}
	reference = shape{kind: "string", pattern: regexp.MustCompile(`^.+$`)} // refType: minLength 1
)

func list(of shape) shape { return shape{kind: "array", items: &of} }

func object(required []string, members map[string]shape) shape {
	return shape{kind: "object", required: required, members: members}
}

// The part of the schema's definitions that a bill of keys uses.
func schemaOfBOM() shape {
	algorithm := object(nil, map[string]shape{
		"primitive":              oneOf("drbg", "mac", "block-cipher", "stream-cipher", "signature", "hash", "pke", "xof", "kdf", "key-agree", "kem", "ae", "combiner", "other", "unknown"),
		"parameterSetIdentifier": text, "curve": text,
		"executionEnvironment":     oneOf("software-plain-ram", "software-encrypted-ram", "software-tee", "hardware", "other", "unknown"),
		"mode":                     oneOf("cbc", "ecb", "ccm", "gcm", "cfb", "ofb", "ctr", "other", "unknown"),
		"padding":                  oneOf("pkcs5", "pkcs7", "pkcs1v15", "oaep", "raw", "other", "unknown"),
		"cryptoFunctions":          list(oneOf("generate", "keygen", "encrypt", "decrypt", "digest", "tag", "keyderive", "sign", "verify", "encapsulate", "decapsulate", "other", "unknown")),
		"classicalSecurityLevel":   {kind: "integer"},
		"nistQuantumSecurityLevel": {kind: "integer", most: 6},
	})
	material := object(nil, map[string]shape{
		"type": oneOf("private-key", "public-key", "secret-key", "key", "ciphertext", "signature", "digest", "initialization-vector", "nonce", "seed", "salt", "shared-secret", "tag",
			"additional-data", "password", "credential", "token", "other", "unknown"),
		"id": text, "state": oneOf("pre-activation", "active", "suspended", "deactivated", "compromised", "destroyed"), "algorithmRef": reference,
		"creationDate": dateTime, "activationDate": dateTime, "updateDate": dateTime, "expirationDate": dateTime,
		"value": text, "size": {kind: "integer"}, "format": text, "securedBy": object(nil, map[string]shape{"mechanism": text, "algorithmRef": reference}),
	})
	component := object([]string{"type", "name"}, map[string]shape{
		"type":    oneOf("application", "framework", "library", "container", "platform", "operating-system", "device", "device-driver", "firmware", "file", "machine-learning-model", "data", "cryptographic-asset"),
		"bom-ref": reference, "name": text, "version": {kind: "string", pattern: regexp.MustCompile(`^.{0,1000}$`)}, "description": text,
		"cryptoProperties": object([]string{"assetType"}, map[string]shape{
			"assetType": oneOf("algorithm", "certificate", "protocol", "related-crypto-material"), "algorithmProperties": algorithm, "relatedCryptoMaterialProperties": material, "oid": text}),
		"properties": list(object([]string{"name"}, map[string]shape{"name": text, "value": text})),
	})
	return object([]string{"bomFormat", "specVersion"}, map[string]shape{
		"$schema": text, "bomFormat": oneOf("CycloneDX"), "specVersion": oneOf("1.6"),
		"serialNumber": {kind: "string", pattern: regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)}, "version": {kind: "integer"},
		"metadata": object(nil, map[string]shape{"timestamp": dateTime,
			"lifecycles": list(object([]string{"phase"}, map[string]shape{"phase": oneOf("design", "pre-build", "build", "post-build", "operations", "discovery", "decommission")})),
			"tools":      object(nil, map[string]shape{"components": list(component)})}),
		"components": list(component),
	})
}

// misfits names everything of a value that its shape does not have.
func misfits(at string, v any, s shape) (all []string) {
	wrong := func(format string, args ...any) { all = append(all, at+": "+fmt.Sprintf(format, args...)) }
	switch s.kind {
	case "object":
		o, ok := v.(map[string]any)
		if !ok {
			wrong("%T is no object", v)
			return all
		}
		for _, name := range s.required {
			if _, ok := o[name]; !ok {
				wrong("%s is missing", name)
			}
		}
		for name, member := range o {
			if of, ok := s.members[name]; ok {
				all = append(all, misfits(at+"."+name, member, of)...)
			} else {
				wrong("there is no member %s", name)
			}
		}
	case "array":
		a, ok := v.([]any)
		if !ok {
			wrong("%T is no array", v)
		}
		for i, item := range a {
			all = append(all, misfits(fmt.Sprintf("%s[%d]", at, i), item, *s.items)...)
		}
	case "string":
		str, ok := v.(string)
		if !ok || s.enum != nil && !slices.Contains(s.enum, str) || s.pattern != nil && !s.pattern.MatchString(str) {
			wrong("%v does not fit", v)
		}
	case "integer":
		n, ok := v.(float64)
		if !ok || n != float64(int64(n)) || n < 0 || s.most > 0 && n > float64(s.most) {
			wrong("%v does not fit", v)
		}
	}
	return all
}

type parsedBOM struct {
	Components []struct {
		Ref     string `json:"bom-ref"`
		Name    string `json:"name"`
		Version string `json:"version"`
		Crypto  struct {
			AssetType string         `json:"assetType"`
			Algorithm map[string]any `json:"algorithmProperties"`
			Material  map[string]any `json:"relatedCryptoMaterialProperties"`
		} `json:"cryptoProperties"`
		Properties []struct{ Name, Value string } `json:"properties"`
	} `json:"components"`
}

func bill(t testing.TB, keys ...client.InventoryKey) string {
	t.Helper()
	var b bytes.Buffer
	c, err := inventory.NewCBOM(&b, inventory.About{Serial: kms.ID{15: 1}, Made: made, Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range keys {
		if err := c.Add(&keys[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// valid checks a bill against the schema, and that what it refers to is in it, once.
func valid(t testing.TB, bill string) (p parsedBOM) {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(bill), &v); err != nil {
		t.Fatalf("%v\n%s", err, bill)
	}
	for _, m := range misfits("", v, schemaOfBOM()) {
		t.Error(m)
	}
	if err := json.Unmarshal([]byte(bill), &p); err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, c := range p.Components {
		if there[c.Ref] {
			t.Errorf("%s stands twice", c.Ref)
		}
		there[c.Ref] = true
	}
	for _, c := range p.Components {
		if ref, ok := c.Crypto.Material["algorithmRef"].(string); ok && !there[ref] {
			t.Errorf("%s refers to %s, which is not there", c.Ref, ref)
		}
	}
	return p
}

// TestABillOfEveryKeyFitsTheSchema ranges over every algorithm with every usage, in every state, from every origin.
func TestABillOfEveryKeyFitsTheSchema(t *testing.T) {
	valid(t, bill(t))
	var keys []client.InventoryKey
	n := 0
	for _, a := range kms.AllAlgorithms() {
		for _, u := range a.Usages() {
			for _, s := range kms.AllStates() {
				for _, o := range []kms.Origin{kms.Generated, kms.Imported, kms.HSM, kms.External} {
					n++
					k := full()
					k.Key.ID, k.Key.Algorithm, k.Key.Usage = fmt.Sprintf("%08d-0000-7000-8000-000000000000", n), a.String(), u.String()
					k.Key.Versions = []client.KeyVersion{{Version: 1, Algorithm: a.String(), State: s.String(), Origin: o.String(), CreatedAt: made}}
					keys = append(keys, k)
				}
			}
		}
	}
	p := valid(t, bill(t, keys...))
	algorithms := 0
	for _, c := range p.Components {
		switch c.Crypto.AssetType {
		case "algorithm":
			algorithms++
			if c.Crypto.Algorithm["primitive"] == "" || len(c.Crypto.Algorithm["cryptoFunctions"].([]any)) < 2 || c.Crypto.Algorithm["classicalSecurityLevel"].(float64) < 112 {
				t.Errorf("%s: got %v", c.Ref, c.Crypto.Algorithm)
			}
		case "related-crypto-material":
			if c.Crypto.Material["state"] == nil || c.Crypto.Material["algorithmRef"] == nil {
				t.Errorf("%s: got %v", c.Ref, c.Crypto.Material)
			}
		}
	}
	if len(p.Components) != n+algorithms || algorithms <= len(kms.AllAlgorithms()) {
		t.Errorf("got %d components, %d of them algorithms, of %d keys", len(p.Components), algorithms, n)
	}
}

// TestABillSaysWhatIsKnown of a key with three versions, and of one without material.
func TestABillSaysWhatIsKnown(t *testing.T) {
	bare := client.InventoryKey{Key: client.Key{ID: "019ca945-0a00-7000-882d-000000000000", Name: "waits", Algorithm: "rsa-3072", Usage: "encrypt", Origin: "imported", State: "pending-import"}}
	future := full()
	future.Key.ID, future.Key.Versions = "future", []client.KeyVersion{{Version: 1, Algorithm: "aes-999-xyz", State: "resting", Origin: "moon"}}
	p := valid(t, bill(t, full(), bare, future))
	want := []struct{ ref, kind, state, algorithm, expires, activates string }{
		{"key/019ca945-0a00-7000-882d-f90a8cba57ea/3", "secret-key", "pre-activation", "algorithm/aes-256-gcm/encrypt", "", "2026-03-01T13:00:00Z"},
		{"key/019ca945-0a00-7000-882d-f90a8cba57ea/2", "secret-key", "active", "algorithm/aes-256-gcm/encrypt", "2026-03-01T13:00:00Z", ""},
		{"key/019ca945-0a00-7000-882d-f90a8cba57ea/1", "secret-key", "deactivated", "algorithm/aes-128-gcm/encrypt", "", ""},
		{"key/019ca945-0a00-7000-882d-000000000000", "private-key", "", "algorithm/rsa-3072/encrypt", "", ""},
		{"key/future/1", "secret-key", "", "", "", ""},
	}
	if len(p.Components) != len(want)+3 {
		t.Fatalf("got %d components", len(p.Components))
	}
	for i, w := range want {
		c, m := p.Components[i], p.Components[i].Crypto.Material
		said := func(name string) string { s, _ := m[name].(string); return s }
		if c.Ref != w.ref || said("type") != w.kind || said("state") != w.state || said("algorithmRef") != w.algorithm || said("expirationDate") != w.expires || said("activationDate") != w.activates {
			t.Errorf("got %s %v want %+v", c.Ref, m, w)
		}
	}
	if pke := p.Components[len(want)+2].Crypto.Algorithm; pke["primitive"] != "pke" || pke["nistQuantumSecurityLevel"] != 0.0 || pke["parameterSetIdentifier"] != "3072" {
		t.Errorf("rsa: got %v", pke)
	}
	said := map[string]string{}
	for _, prop := range p.Components[2].Properties {
		said[prop.Name] = prop.Value
	}
	for name, value := range map[string]string{"keyhold:owner": "hr", "keyhold:data-class": "confidential", "keyhold:users": "a;b", "keyhold:unknown": "use;access",
		"keyhold:version:state": "archived", "keyhold:version:primary": "false", "keyhold:last-used": "2026-03-01T12:00:00Z"} {
		if said[name] != value {
			t.Errorf("%s: got %q want %q", name, said[name], value)
		}
	}
	hidden := full()
	hidden.AccessShown, hidden.Users, hidden.Managers = false, nil, nil
	if text := bill(t, hidden); strings.Contains(text, "user-count") {
		t.Error("says how many may use a key that hides it")
	}
}

// TestWhatIsNotClosedIsNotWhole: no JSON reader takes a bill that broke off for a whole one.
func TestWhatIsNotClosedIsNotWhole(t *testing.T) {
	whole := bill(t, full())
	for n := range len(whole) - 1 {
		if json.Valid([]byte(whole[:n])) {
			t.Fatalf("the first %d of %d bytes are JSON", n, len(whole))
		}
	}
}

type fullDisk struct{ left int }

var errFull = errors.New("full")

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.left -= len(p); d.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

// TestAFailureToWriteIsTold, wherever it happens.
func TestAFailureToWriteIsTold(t *testing.T) {
	k := full()
	for left := range 40 {
		disk := &fullDisk{left: 200 * left}
		if c, err := inventory.NewCBOM(disk, inventory.About{}); err == nil {
			for range 10 {
				err = errors.Join(err, c.Add(&k))
			}
			if err = errors.Join(err, c.Close()); !errors.Is(err, errFull) {
				t.Errorf("bill, %d bytes: got %v", 200*left, err)
			}
		}
		disk = &fullDisk{left: 50 * left}
		if c, err := inventory.NewCSV(disk); err == nil {
			for range 10 {
				err = errors.Join(err, c.Add(&k))
			}
			if err = errors.Join(err, c.Close()); !errors.Is(err, errFull) {
				t.Errorf("values, %d bytes: got %v", 50*left, err)
			}
		}
	}
}

// TestManyKeysTakeNoMoreMemory: what is written is not kept.
func TestManyKeysTakeNoMoreMemory(t *testing.T) {
	k := full()
	for name, add := range map[string]func(disk *fullDisk) (interface {
		Add(k *client.InventoryKey) error
	}, error){
		"bill": func(disk *fullDisk) (interface {
			Add(k *client.InventoryKey) error
		}, error) {
			return inventory.NewCBOM(disk, inventory.About{Made: time.Now()})
		},
		"values": func(disk *fullDisk) (interface {
			Add(k *client.InventoryKey) error
		}, error) {
			return inventory.NewCSV(disk)
		},
	} {
		disk := &fullDisk{left: 1 << 40}
		c, err := add(disk)
		if err != nil {
			t.Fatal(err)
		}
		const n = 2000
		for range n {
			if err := c.Add(&k); err != nil {
				t.Fatal(err)
			}
		}
		if written := 1<<40 - disk.left; written < n*300 {
			t.Errorf("%s: only %d bytes of %d keys were written on the way", name, written, n)
		}
	}
}

// FuzzBill: whatever keys are called, the bill fits the schema.
func FuzzBill(f *testing.F) {
	for _, s := range []string{"", "a", "\x00\xff", `"]}`, "\u2028", "aes-256-gcm"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		k := full()
		k.Key.Name, k.Key.Description, k.Key.Labels, k.Key.Algorithm, k.Key.Usage, k.Users = a, b, map[string]string{"owner": a, b: a}, b, a, []string{a, b}
		k.Key.Versions[0].Algorithm, k.Key.Versions[1].State, k.Key.Versions[2].Origin = a, b, a
		valid(t, bill(t, k))
	})
}
