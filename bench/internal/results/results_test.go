package results

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestLinesAreReadAsTheyWereAppended(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r")
	want := []Line{{Machine: &Machine{CPU: "c", Cores: 2}}, {Disk: &Disk{P50: 1.5}}, {Run: &Run{Server: "s", Op: "o", Ops: 7, User: 2.25, Reconnect: true}}}
	if err := Append(path, want[:1]...); err != nil {
		t.Fatal(err)
	}
	if err := Append(path, want[1:]...); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, err := Read(f); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestDamagedLinesAreTold(t *testing.T) {
	if _, err := Read(strings.NewReader("{\"run\":{}}\n{\"run\":\n")); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("got %v, want an error that names line 2", err)
	}
	if _, err := Read(strings.NewReader(strings.Repeat("x", maxLine+1))); err == nil {
		t.Error("a line without end is no error")
	}
}
