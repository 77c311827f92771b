package inventory_test

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/inventory"
)

var made = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// full is a key of which everything is said.
func full() client.InventoryKey {
	return client.InventoryKey{
		Key: client.Key{ID: "019ca945-0a00-7000-882d-f90a8cba57ea", Namespace: "default", Name: "payroll/a", Aliases: []string{"a1", "a2"}, Algorithm: "aes-256-gcm", Usage: "encrypt",
			Origin: "generated", State: "enabled", PrimaryVersion: 2, LatestVersion: 3, Description: "for the \"payroll\", all of it", DataClass: "confidential", Template: "t",
			Labels: map[string]string{"owner": "hr", "purpose": "salaries", "env": "prod"}, CreatedAt: made,
			Versions: []client.KeyVersion{
				{Version: 3, Algorithm: "aes-256-gcm", State: "pre-active", Origin: "generated", CreatedAt: made, ActivateAt: made.Add(time.Hour)},
				{Version: 2, Algorithm: "aes-256-gcm", State: "active", Origin: "generated", CreatedAt: made, DeactivateAt: made.Add(2 * time.Hour), ExpiresAt: made.Add(time.Hour)},
				{Version: 1, Algorithm: "aes-128-gcm", State: "archived", Origin: "imported", CreatedAt: made},
			}},
		VersionState: "active", Rotation: "schedule", RotatedAt: made, NextRotation: made.Add(time.Hour), LastUsed: made, Uses: 7,
		AccessShown: true, Users: []string{"a", "b"}, UserCount: 2, Managers: []string{"alice"}, ManagerCount: 1, DataKeys: 3, OutsideDataKeys: 1, Unknown: []string{"use", "access"},
	}
}

func values(t testing.TB, keys ...client.InventoryKey) string {
	t.Helper()
	var b bytes.Buffer
	c, err := inventory.NewCSV(&b)
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

// TestValuesAreThoseOfTheKey: a line of names, one for each key, CR LF after each (RFC 4180 §2).
func TestValuesAreThoseOfTheKey(t *testing.T) {
	text := values(t, full(), client.InventoryKey{Key: client.Key{Name: "bare"}})
	if n := strings.Count(text, "\r\n"); n != 3 || strings.Count(text, "\n") != 3 {
		t.Errorf("got %d lines:\n%s", n, text)
	}
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for i, name := range rows[0] {
		if _, twice := got[name]; twice {
			t.Errorf("column %s stands twice", name)
		}
		got[name] = rows[1][i]
	}
	for name, want := range map[string]string{
		"id": "019ca945-0a00-7000-882d-f90a8cba57ea", "name": "payroll/a", "aliases": "a1;a2", "primary_version": "2", "latest_version": "3", "owner": "hr", "purpose": "salaries",
		"description": "for the \"payroll\", all of it", "labels": "env=prod;owner=hr;purpose=salaries", "created_at": "2026-03-01T12:00:00Z", "next_rotation": "2026-03-01T13:00:00Z",
		"overdue": "false", "uses": "7", "users": "a;b", "manager_count": "1", "outside_data_keys": "1", "unknown": "use;access", "destroy_at": "", "version_state": "active",
	} {
		if got[name] != want {
			t.Errorf("%s: got %q want %q", name, got[name], want)
		}
	}
	for i, v := range rows[2] {
		if v != "" && rows[0][i] != "name" && v != "0" && v != "false" {
			t.Errorf("of a key without anything: %s is %q", rows[0][i], v)
		}
	}
}

// TestNoFieldIsAFormula: what a spreadsheet would calculate is text (CWE-1236), and nothing gets out of its field.
func TestNoFieldIsAFormula(t *testing.T) {
	for _, bad := range []string{`=1+1`, `+1`, `-1`, `@SUM(A1)`, "\t=1", "\r=1", "\n=1", `＝1`, `=HYPERLINK("http://x","y")`, "a\r\n=1,2", `","=1`} {
		k := full()
		k.Key.Description, k.Users, k.Key.Labels = bad, []string{bad}, map[string]string{"owner": bad, bad: "x"}
		rows, err := csv.NewReader(strings.NewReader(values(t, k))).ReadAll()
		if err != nil || len(rows) != 2 || len(rows[0]) != len(rows[1]) {
			t.Fatalf("%q: %v, %d rows", bad, err, len(rows))
		}
		for i, v := range rows[1] {
			if strings.HasPrefix(v, "＝") || v != "" && strings.ContainsAny(v[:1], "=+-@\t\r\n") {
				t.Errorf("%q: %s is %q", bad, rows[0][i], v)
			}
		}
	}
}

// FuzzValues: whatever names and labels say, it is one line of the right number of fields, and none is a formula.
func FuzzValues(f *testing.F) {
	for _, s := range []string{"", "=1", "a,b", `"`, "\r\n", "\x00\xff", "＋1", ";"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		k := full()
		k.Key.Description, k.Key.Labels, k.Key.Aliases = a, map[string]string{"owner": a, b: a}, []string{a, b}
		rows, err := csv.NewReader(strings.NewReader(values(t, k))).ReadAll()
		if err != nil || len(rows) != 2 || len(rows[1]) != len(rows[0]) {
			t.Fatalf("%v, %d rows", err, len(rows))
		}
		for _, v := range rows[1] {
			if v != "" && strings.ContainsAny(v[:1], "=+-@\t\r\n") {
				t.Errorf("%q is a formula", v)
			}
		}
	})
}
