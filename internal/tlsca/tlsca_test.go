package tlsca

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ensure(t *testing.T, dir string, names []string, now time.Time) (Files, bool) {
	t.Helper()
	f, changed, err := Ensure(dir, names, now)
	if err != nil {
		t.Fatal(err)
	}
	return f, changed
}

func load(t *testing.T, f Files) (server, ca *x509.Certificate, roots *x509.CertPool) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(f.CA)
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		t.Fatal("ca.pem has no certificate")
	}
	if ca, err = x509.ParseCertificate(pair.Certificate[1]); err != nil {
		t.Fatal(err)
	}
	return pair.Leaf, ca, roots
}

func TestAClientThatTrustsTheAuthorityTrustsTheServer(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	f, changed := ensure(t, dir, nil, start)
	server, ca, roots := load(t, f)
	for _, host := range []string{"localhost", "127.0.0.1", "::1"} {
		opts := x509.VerifyOptions{DNSName: host, Roots: roots, CurrentTime: start, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
		if _, err := server.Verify(opts); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if !changed || !ca.IsCA || !ca.MaxPathLenZero || !ca.PermittedDNSDomainsCritical {
		t.Errorf("changed %v, ca %+v", changed, ca)
	}
	for name, want := range map[string]os.FileMode{"ca.key": 0o600, "server.key": 0o600, "ca.pem": 0o644, "server.pem": 0o644, ".": 0o700} {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: mode %v %v, want %v", name, st.Mode().Perm(), err, want)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 4 {
		t.Errorf("%d files, want 4", len(entries))
	}
}

func TestTheLoopbackAuthorityVouchesForNoOtherMachine(t *testing.T) {
	dir := t.TempDir()
	ensure(t, dir, nil, start)
	f := In(dir)
	ca, _, err := authority(dir, f.CA, subjects(nil), start)
	if err != nil {
		t.Fatal(err)
	}
	if err := issue(f, ca, subjects([]string{"bank.example"}), start); err != nil { // what a thief of ca.key would do
		t.Fatal(err)
	}
	server, _, roots := load(t, f)
	for _, host := range []string{"bank.example", "localhost"} {
		if _, err := server.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, CurrentTime: start}); err == nil {
			t.Errorf("a certificate beyond loopback is believed for %s", host)
		}
	}
}

func TestASecondStartChangesNothing(t *testing.T) {
	dir := t.TempDir()
	f, _ := ensure(t, dir, nil, start)
	before, _, _ := load(t, f)
	if _, changed := ensure(t, dir, nil, start.Add(300*24*time.Hour)); changed {
		t.Error("changed without need")
	}
	if after, _, _ := load(t, f); !after.Equal(before) {
		t.Error("the certificate is another")
	}
}

func TestWhatIsNeededIsRenewedAndNoMore(t *testing.T) {
	for _, tc := range []struct {
		name         string
		spoil        func(t *testing.T, f Files)
		names        []string
		at           time.Time
		newAuthority bool
	}{
		{"near the end of the certificate", nil, nil, start.Add(serverLife - renewBefore + time.Hour), false},
		{"near the end of the authority", nil, nil, start.Add(caLife - renewBefore + time.Hour), true},
		{"a further loopback address", nil, []string{"127.0.0.2"}, start, false},
		{"a further machine", nil, []string{"keys.example.org", "10.0.0.1"}, start, true},
		{"the key is gone", func(t *testing.T, f Files) { remove(t, f.Key) }, nil, start, false},
		{"the certificate is damaged", func(t *testing.T, f Files) { spoil(t, f.Cert) }, nil, start, false},
		{"the authority is gone", func(t *testing.T, f Files) { remove(t, f.CA); remove(t, caKey(f)) }, nil, start, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			f, _ := ensure(t, dir, nil, start)
			_, before, _ := load(t, f)
			if tc.spoil != nil {
				tc.spoil(t, f)
			}
			if _, changed := ensure(t, dir, tc.names, tc.at); !changed {
				t.Fatal("nothing changed")
			}
			server, after, roots := load(t, f)
			if got := !after.Equal(before); got != tc.newAuthority {
				t.Errorf("new authority: got %v, want %v", got, tc.newAuthority)
			}
			for _, host := range append(tc.names, "localhost") {
				if _, err := server.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, CurrentTime: tc.at}); err != nil {
					t.Error(err)
				}
			}
			if _, changed := ensure(t, dir, tc.names, tc.at); changed {
				t.Error("changed again")
			}
		})
	}
}

func TestThePublishedCertificateIsPutBack(t *testing.T) {
	dir := t.TempDir()
	f, _ := ensure(t, dir, nil, start)
	want, _ := os.ReadFile(f.CA)
	for _, harm := range []func(*testing.T, string){remove, spoil} {
		harm(t, f.CA)
		ensure(t, dir, nil, start)
		if got, _ := os.ReadFile(f.CA); string(got) != string(want) {
			t.Error("ca.pem is not what it was")
		}
	}
}

func caKey(f Files) string { return filepath.Join(filepath.Dir(f.CA), "ca.key") }

func TestADamagedAuthorityIsNotReplacedInSilence(t *testing.T) {
	dir := t.TempDir()
	f, _ := ensure(t, dir, nil, start)
	spoil(t, caKey(f))
	if _, _, err := Ensure(dir, nil, start); err == nil {
		t.Error("a damaged authority was accepted or replaced")
	}
}

func remove(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
}

func spoil(t *testing.T, name string) {
	t.Helper()
	if err := os.WriteFile(name, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}
