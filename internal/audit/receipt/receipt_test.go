package receipt_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit/receipt"
	"github.com/keyhold/keyhold/internal/kms"
)

func whole() *receipt.Receipt {
	at := time.Date(2026, 3, 1, 12, 0, 0, 1, time.UTC)
	r := &receipt.Receipt{Cluster: "c", What: receipt.OfKey, Namespace: "default", Key: kms.ID{1}, Name: "k \"é\n", Class: "pii", Description: "d", VersionsAll: 1,
		Versions:  []receipt.Version{{Number: 1, Algorithm: kms.AES256GCM, State: kms.Destroyed, Created: at, Check: []byte{1, 2}}},
		Requested: at, RequestedBy: "alice", Reason: "why", Approval: kms.ID{2}, ApprovedBy: []string{"bob", ""}, Assessment: "00", Due: at, Erased: at, Epoch: 3,
		Irrecoverable: at, Record: kms.ID{4}, Position: "n1-000001-5", Proof: []byte("a\n\nb\n")}
	r.SetLabels(map[string]string{"z": "1", "a b": "\""})
	return r
}

func TestAReceiptReadsAsItIsWritten(t *testing.T) {
	text := whole().Text()
	got, err := receipt.ParseText(text)
	if err != nil || got.Text() != text || got.Name != "k \"é\n" || len(got.Labels) != 2 || string(got.Proof) != "a\n\nb\n" || len(got.ApprovedBy) != 2 {
		t.Fatalf("%+v %v", got, err)
	}
	long := whole()
	long.Labels = nil
	long.SetLabels(map[string]string{"a": strings.Repeat("x", receipt.MaxLabels)})
	if got, err := receipt.ParseText(long.Text()); err != nil || len(got.Labels) != 0 || len(got.LabelsSum) != 64 {
		t.Errorf("labels that are too long: %+v %v", got, err)
	}
}

func TestWhatIsNoReceiptIsRefused(t *testing.T) {
	text := whole().Text()
	for name, bad := range map[string]string{
		"empty": "", "another text": "x\n", "a line twice": strings.Replace(text, "due: ", "due: 2026-03-01T12:00:00Z\ndue: ", 1), "an unknown line": text + "more: 1\n",
		"another order": strings.Replace(text, "cluster: c\ndestroyed: key\n", "destroyed: key\ncluster: c\n", 1), "no end": strings.TrimSuffix(text, "\n"),
		"no proof": text[:strings.Index(text, "| ")], "another method": strings.Replace(text, "cryptographic erase", "fire", 1),
		"a promise left out": strings.Replace(text, "not-reached: material, data keys and plaintext that were given out\n", "", 1),
		"a wrong time":       strings.Replace(text, "erased: 2026", "erased: 2O26", 1), "what": strings.Replace(text, "destroyed: key", "destroyed: all", 1),
		"a time in another form": strings.Replace(text, "erased: 2026-03-01T12:00:00.000000001Z", "erased: 2026-03-01T13:00:00.000000001+01:00", 1),
		"too long":               text + strings.Repeat("| x\n", receipt.Max/4),
	} {
		if _, err := receipt.ParseText(bad); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func FuzzReceipt(f *testing.F) {
	f.Add(whole().Text())
	f.Add(receipt.Header + "\ncluster: x\n")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if r, err := receipt.ParseText(text); err == nil && r.Text() != text {
			t.Errorf("two forms of one receipt: %q and %q", text, r.Text())
		}
	})
}
