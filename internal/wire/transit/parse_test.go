package transit_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/release"
	"github.com/keyhold/keyhold/internal/wire/transit"
)

func sample() *transit.Backup {
	return &transit.Backup{
		Name: "k", Algorithm: kms.AES128GCM, Exportable: true, Plaintext: true, MinKept: 2, MinProcess: 2, MinProtect: 3, Latest: 3, Every: time.Hour,
		Versions: []transit.Version{
			{Number: 2, Created: time.Unix(1_700_000_000, 5).UTC(), Material: secret.Copy([]byte("0123456789abcdef")), MAC: secret.Copy([]byte(strings.Repeat("m", 32)))},
			{Number: 3, Created: time.Unix(1_700_000_001, 0).UTC(), Material: secret.Copy([]byte("fedcba9876543210")), MAC: secret.Copy([]byte(strings.Repeat("n", 32)))},
		},
	}
}

func written(t testing.TB, b *transit.Backup) string {
	t.Helper()
	out, err := b.Write(time.Unix(1_700_000_002, 0))
	if err != nil {
		t.Fatal(err)
	}
	return string(out.Wire(release.Wire{}))
}

// TestWhatIsWrittenIsRead: trimmed versions stay away, all else comes back.
func TestWhatIsWrittenIsRead(t *testing.T) {
	want := sample()
	got, err := transit.Parse([]byte(written(t, want)))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Versions) != len(want.Versions) {
		t.Fatalf("got %d versions", len(got.Versions))
	}
	for i, v := range got.Versions {
		w := want.Versions[i]
		if v.Number != w.Number || !v.Created.Equal(w.Created) || !v.Material.Equal(w.Material) || !v.MAC.Equal(w.MAC) {
			t.Errorf("version %d: got %+v want %+v", w.Number, v, w)
		}
	}
	if got.MinKept != 2 || got.MinProcess != 2 || got.MinProtect != 3 || got.Latest != 3 || got.Every != time.Hour || got.Algorithm != want.Algorithm || !got.Exportable || !got.Plaintext {
		t.Errorf("got %+v", got)
	}
}

// TestBadBackupsAreRefused: each for its reason, and never with a part of the secret in the text.
func TestBadBackupsAreRefused(t *testing.T) {
	raw, err := base64.StdEncoding.DecodeString(written(t, sample()))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ was, now, why string }{
		{"{", "[", "not the JSON"},
		{`"latest_version":3`, `"latest_version":4`, "version 4 is missing"},
		{`"latest_version":3`, `"latest_version":999999`, "more than 1000 versions"},
		{`"latest_version":3`, `"latest_version":-1`, "latest_version is -1"},
		{`"type":8`, `"type":99`, "key type 99"},
		{`"type":8`, `"type":0`, "has 16 bytes: want 32"},
		{`"type":8`, `"type":1`, "no private key"},
		{`"derived":false`, `"derived":true`, "another function than HKDF"},
		{`"convergent_encryption":false`, `"convergent_encryption":true`, "not derived"},
		{`"min_decryption_version":2`, `"min_decryption_version":9`, "above its latest"},
		{`"auto_rotate_period":3600000000000`, `"auto_rotate_period":` + strings.Repeat("1", 6000), "digits"},
		{`"policy"`, `"other"`, "missing"},
		{`"policy"`, `"policy":null,"policy"`, "not the JSON"},
	} {
		changed := strings.Replace(string(raw), c.was, c.now, 1)
		if changed == string(raw) {
			t.Fatalf("%s is not in the sample", c.was)
		}
		_, err := transit.Parse([]byte(base64.StdEncoding.EncodeToString([]byte(changed))))
		if err == nil || kms.CodeOf(err) != kms.CodeKeyFile || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: got %v, want %q", c.now, err, c.why)
		}
	}
	if _, err := transit.Parse(make([]byte, transit.MaxBackup+1)); kms.CodeOf(err) != kms.CodeTooLarge {
		t.Errorf("too large: got %v", err)
	}
	if _, err := transit.Parse([]byte("###")); kms.CodeOf(err) != kms.CodeKeyFile {
		t.Errorf("no base64: got %v", err)
	}
}

// FuzzParse: whatever comes, a backup that is read can be written and read again.
func FuzzParse(f *testing.F) {
	raw, err := base64.StdEncoding.DecodeString(written(f, sample()))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"policy":{"type":3,"latest_version":1,"keys":{"1":{"rsa_key":{"N":1,"E":3,"D":1,"Primes":[1,1]}}}},"archived_keys":{}}`))
	f.Add([]byte(`{"policy":{"type":1,"latest_version":1,"keys":{"1":{"ec_x":1,"ec_y":2,"ec_d":3}}},"archived_keys":{}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := transit.Parse([]byte(base64.StdEncoding.EncodeToString(raw)))
		if err != nil {
			return
		}
		defer b.Zero()
		again, err := transit.Parse([]byte(written(t, b)))
		if err != nil || len(again.Versions) != len(b.Versions) {
			t.Errorf("got %v", err)
		}
		again.Zero()
	})
}
