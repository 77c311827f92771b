package engine_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

func (w *world) putTemplate(t engine.TemplateInfo) {
	w.t.Helper()
	c := admin
	c.Token = fmt.Sprintf("put-%d", rand.Uint64()) // its outcome is remembered, too
	if _, err := w.e.PutTemplate(w.t.Context(), c, engine.PutTemplateInput{Template: t}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) createBy(in engine.CreateKeyInput) (kms.Key, error) {
	out, err := w.e.CreateKey(w.t.Context(), admin, in)
	return out.Key, err
}

// confidential says everything that a template can.
var confidential = engine.TemplateInfo{
	Name: "confidential", Description: "few", Class: "confidential", Default: true, Algorithm: kms.HMACSHA256, Usage: kms.MAC, Bytes: 48,
	Period: kms.Period{Every: 86400, Operations: 1000}, Freeze: true, ProcessDeactivated: true, Exportable: true,
	Labels: map[string]string{"tier": "1"}, Required: []string{"owner", "description"}, Locked: []string{"algorithm", "labels", "exportable"},
	Window: 60 * 86400, MinWindow: 30 * 86400,
}

// GEN-4: one key for all data, or one for each class; a template per class says what its keys are.
func TestATemplateSaysWhatARequestDoesNot(t *testing.T) {
	w := newWorld(t)
	w.putTemplate(confidential)
	got, err := w.createBy(engine.CreateKeyInput{Name: "salaries", Template: "confidential", Description: "d", Labels: map[string]string{"owner": "hr"}})
	if err != nil {
		t.Fatal(err)
	}
	by, err := w.createBy(engine.CreateKeyInput{Name: "by-class", Class: "confidential", Description: "d", Labels: map[string]string{"owner": "hr"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []kms.Key{got, by} {
		if k.Algorithm != kms.HMACSHA256 || k.Usage != kms.MAC || k.Bytes != 48 || k.Class != "confidential" || k.Template != "confidential" || k.Period != confidential.Period ||
			!k.Freeze || !k.ProcessDeactivated || !k.Exportable || !maps.Equal(k.Labels, map[string]string{"tier": "1", "owner": "hr"}) {
			t.Errorf("%s: got %+v, want what the template says", k.Name, k)
		}
	}
	// What the request says wins, where nothing is locked; an algorithm of its own brings its own usage and length.
	w.putTemplate(engine.TemplateInfo{Name: "loose", Class: "internal", Algorithm: kms.HMACSHA256, Bytes: 48, Period: kms.Period{Every: 86400}})
	k, err := w.createBy(engine.CreateKeyInput{Name: "other", Template: "loose", Algorithm: kms.AES256GCM, Class: "public", Period: &kms.Period{}})
	if err != nil || k.Algorithm != kms.AES256GCM || k.Usage != kms.EncryptDecrypt || k.Bytes != 0 || k.Class != "public" || k.Freeze || !k.Period.IsZero() || k.Template != "loose" {
		t.Errorf("got %+v %v, want what the request says", k, err)
	}
	// It survives a restart, and a key stays as it was made when its template changes or goes.
	w.restart()
	if _, err := w.e.DeleteTemplate(t.Context(), admin, engine.TemplateInput{Name: "confidential"}); err != nil {
		t.Fatal(err)
	}
	out, err := w.e.DescribeKey(t.Context(), admin, engine.KeyInput{Key: "salaries"})
	if err != nil || out.Key.Template != "confidential" || !out.Key.Freeze {
		t.Errorf("got %+v %v", out.Key, err)
	}
	_, err = w.createBy(engine.CreateKeyInput{Name: "late", Template: "confidential"})
	wantCode(t, err, kms.CodeNotFound)
	_, err = w.createBy(engine.CreateKeyInput{Name: "late", Class: "confidential"})
	wantCode(t, err, kms.CodeNotFound)
	if k, err = w.createBy(engine.CreateKeyInput{Name: "late", Class: "confidential", Algorithm: kms.AES256GCM}); err != nil || k.Class != "confidential" || k.Template != "" {
		t.Errorf("a class needs no template: got %+v %v", k, err)
	}
}

func TestWhatATemplateLocksNobodyChooses(t *testing.T) {
	w := newWorld(t)
	w.putTemplate(confidential)
	good := func() engine.CreateKeyInput {
		return engine.CreateKeyInput{Name: "k", Template: "confidential", Description: "d", Labels: map[string]string{"owner": "hr"}}
	}
	for name, bend := range map[string]func(*engine.CreateKeyInput){
		"algorithm": func(in *engine.CreateKeyInput) { in.Algorithm = kms.AES256GCM },
		"labels":    func(in *engine.CreateKeyInput) { in.Labels["tier"] = "2" },
	} {
		in := good()
		bend(&in)
		_, err := w.createBy(in)
		if kms.CodeOf(err) != kms.CodeBadRequest || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v, want a refusal that names it", name, err)
		}
	}
	in := good()
	in.Algorithm, in.Exportable = kms.HMACSHA256, true // the same as the template says
	if _, err := w.createBy(in); err != nil {
		t.Fatal(err)
	}
	w.putTemplate(engine.TemplateInfo{Name: "kept", Algorithm: kms.AES256GCM, Locked: []string{"exportable"}})
	_, err := w.createBy(engine.CreateKeyInput{Name: "out", Template: "kept", Exportable: true})
	wantCode(t, err, kms.CodeBadRequest)
	_, err = w.e.UpdateKey(t.Context(), admin, engine.UpdateKeyInput{Key: "k", SetLabels: map[string]string{"tier": "2"}})
	wantCode(t, err, kms.CodeBadRequest)
	if _, err := w.e.UpdateKey(t.Context(), admin, engine.UpdateKeyInput{Key: "k", SetLabels: map[string]string{"note": "x"}}); err != nil {
		t.Error(err)
	}
}

// LIF-1: a key that does not say its owner or purpose is refused, and the refusal names all that is missing.
func TestRequiredMetadata(t *testing.T) {
	w := newWorld(t)
	w.create("before", kms.AES256GCM, 0)
	required := []string{"owner", "purpose", "class"}
	out, err := w.e.UpdateNamespace(t.Context(), admin, engine.NamespaceInput{Name: kms.DefaultNamespace, Required: &required})
	if err != nil || !reflect.DeepEqual(out.Namespace.Required, required) {
		t.Fatalf("got %+v %v", out, err)
	}
	_, err = w.createBy(engine.CreateKeyInput{Name: "k", Algorithm: kms.AES256GCM, Labels: map[string]string{"owner": ""}})
	wantCode(t, err, kms.CodeMetadata)
	if !strings.Contains(err.Error(), "owner, purpose, class") {
		t.Errorf("got %v, want the three that are missing", err)
	}
	if recs := w.records(audit.Filter{Action: kms.CreateKey}); recs[0].Code != kms.CodeMetadata || recs[0].Resource != "k" {
		t.Errorf("the refusal is recorded as %+v", recs[0].Record)
	}
	w.putTemplate(engine.TemplateInfo{Name: "loud", Algorithm: kms.AES256GCM, Class: "c", Labels: map[string]string{"purpose": "p"}, Required: []string{"owner", "description"}})
	_, err = w.createBy(engine.CreateKeyInput{Name: "k", Template: "loud", Labels: map[string]string{"owner": "o"}})
	wantCode(t, err, kms.CodeMetadata)
	if _, err = w.createBy(engine.CreateKeyInput{Name: "k", Template: "loud", Labels: map[string]string{"owner": "o"}, Description: "d"}); err != nil {
		t.Fatal(err)
	}
	// What is required cannot be taken away later; a key from before may stay as it is.
	empty := ""
	for name, in := range map[string]engine.UpdateKeyInput{
		"a removed label": {Key: "k", RemoveLabels: []string{"owner"}}, "an emptied one": {Key: "k", SetLabels: map[string]string{"purpose": ""}},
		"no description": {Key: "k", Description: &empty}, "no class": {Key: "k", Class: &empty},
	} {
		if _, err := w.e.UpdateKey(t.Context(), admin, in); kms.CodeOf(err) != kms.CodeMetadata {
			t.Errorf("%s: got %v, want %s", name, err, kms.CodeMetadata)
		}
	}
	class := "internal"
	if out, err := w.e.UpdateKey(t.Context(), admin, engine.UpdateKeyInput{Key: "before", Class: &class}); err != nil || out.Key.Class != class {
		t.Errorf("a key from before: got %+v %v", out.Key, err)
	}
	none := []string{}
	if _, err := w.e.UpdateNamespace(t.Context(), admin, engine.NamespaceInput{Name: kms.DefaultNamespace, Required: &none}); err != nil {
		t.Fatal(err)
	}
	w.create("after", kms.AES256GCM, 0)
}

func TestATemplateThatMakesNoSenseIsRefused(t *testing.T) {
	w := newWorld(t)
	w.putTemplate(engine.TemplateInfo{Name: "first", Class: "c", Default: true})
	for name, c := range map[string]struct {
		code kms.Code
		t    engine.TemplateInfo
	}{
		"no name":                    {kms.CodeBadName, engine.TemplateInfo{}},
		"a name with a slash":        {kms.CodeBadName, engine.TemplateInfo{Name: "a/b"}},
		"a class in capitals":        {kms.CodeBadName, engine.TemplateInfo{Name: "a", Class: "C"}},
		"default of no class":        {kms.CodeBadRequest, engine.TemplateInfo{Name: "a", Default: true}},
		"a second of its class":      {kms.CodeExists, engine.TemplateInfo{Name: "a", Class: "c", Default: true}},
		"a usage without algorithm":  {kms.CodeBadRequest, engine.TemplateInfo{Name: "a", Usage: kms.MAC}},
		"a usage of another":         {kms.CodeUsage, engine.TemplateInfo{Name: "a", Algorithm: kms.AES256GCM, Usage: kms.MAC}},
		"a length it cannot have":    {kms.CodeBadRequest, engine.TemplateInfo{Name: "a", Algorithm: kms.AES256GCM, Bytes: 48}},
		"no such lock":               {kms.CodeBadRequest, engine.TemplateInfo{Name: "a", Locked: []string{"colour"}}},
		"a lock on nothing":          {kms.CodeBadRequest, engine.TemplateInfo{Name: "a", Locked: []string{"algorithm"}}},
		"a lock twice":               {kms.CodeBadRequest, engine.TemplateInfo{Name: "a", Locked: []string{"freeze", "freeze"}}},
		"metadata twice":             {kms.CodeBadRequest, engine.TemplateInfo{Name: "a", Required: []string{"owner", "owner"}}},
		"metadata without a name":    {kms.CodeBadRequest, engine.TemplateInfo{Name: "a", Required: []string{""}}},
		"too much metadata":          {kms.CodeTooLarge, engine.TemplateInfo{Name: "a", Required: make([]string, kms.MaxRequired+1)}},
		"a negative window":          {kms.CodeWindow, engine.TemplateInfo{Name: "a", Window: -1}},
		"a window of centuries":      {kms.CodeWindow, engine.TemplateInfo{Name: "a", Window: 1e10}},
		"a window below the least":   {kms.CodeBadRequest, engine.TemplateInfo{Name: "a", Window: 3600, MinWindow: 7200}},
		"a negative period":          {kms.CodeBadRequest, engine.TemplateInfo{Name: "a", Period: kms.Period{Every: -1}}},
		"a period of centuries":      {kms.CodeBadRequest, engine.TemplateInfo{Name: "a", Period: kms.Period{Every: 1 << 40}}},
		"a description without end":  {kms.CodeTooLarge, engine.TemplateInfo{Name: "a", Description: strings.Repeat("x", kms.MaxDescription+1)}},
		"a label without a name":     {kms.CodeBadRequest, engine.TemplateInfo{Name: "a", Labels: map[string]string{"": "x"}}},
		"one that is there, not new": {kms.CodeExists, engine.TemplateInfo{Name: "first"}},
	} {
		_, err := w.e.PutTemplate(t.Context(), admin, engine.PutTemplateInput{Template: c.t, New: true})
		if got := kms.CodeOf(err); got != c.code {
			t.Errorf("%s: got %v, want %s", name, err, c.code)
		}
	}
	_, err := w.e.PutTemplate(t.Context(), user, engine.PutTemplateInput{Template: engine.TemplateInfo{Name: "mine"}})
	wantCode(t, err, kms.CodeDenied)
	// Who may not make keys is not told which templates there are.
	_, err = w.e.CreateKey(t.Context(), user, engine.CreateKeyInput{Name: "k", Template: "none"})
	wantCode(t, err, kms.CodeDenied)
	_, err = w.e.GetTemplate(t.Context(), user, engine.TemplateInput{Name: strings.Repeat("x", 5000)})
	wantCode(t, err, kms.CodeBadName)
}

func TestTemplatesAreListedAndBounded(t *testing.T) {
	w := newWorld(t)
	const most = 256
	for i := range most {
		w.putTemplate(engine.TemplateInfo{Name: fmt.Sprintf("t-%03d", i)})
	}
	_, err := w.e.PutTemplate(t.Context(), admin, engine.PutTemplateInput{Template: engine.TemplateInfo{Name: "one-more"}})
	wantCode(t, err, kms.CodeTooLarge)
	w.putTemplate(engine.TemplateInfo{Name: "t-000", Description: "changed"})
	var names []string
	for in := (engine.PageInput{Limit: 100}); ; {
		page, err := w.e.ListTemplates(t.Context(), user, in)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range page.Templates {
			names = append(names, one.Name)
		}
		if in.Page = page.Next; in.Page == "" {
			break
		}
	}
	if len(names) != most || names[0] != "t-000" || names[most-1] != "t-255" {
		t.Errorf("got %d templates, %s to %s", len(names), names[0], names[len(names)-1])
	}
}

func TestATemplateSetsTheWindowBeforeDestruction(t *testing.T) {
	w := newWorld(t)
	w.putTemplate(confidential)
	w.putTemplate(engine.TemplateInfo{Name: "least", Algorithm: kms.AES256GCM, MinWindow: 10 * 86400})
	for _, c := range []struct {
		template    string
		asked, want time.Duration // 0: refused
	}{
		{"confidential", 0, 60 * 24 * time.Hour}, {"confidential", 30 * 24 * time.Hour, 30 * 24 * time.Hour}, {"confidential", 29 * 24 * time.Hour, 0},
		{"least", 0, 30 * 24 * time.Hour}, {"least", 9 * 24 * time.Hour, 0}, {"", 7 * 24 * time.Hour, 7 * 24 * time.Hour},
	} {
		in := engine.CreateKeyInput{Name: "k", Template: c.template, Description: "d", Labels: map[string]string{"owner": "o"}}
		if c.template == "" {
			in.Algorithm = kms.AES256GCM
		}
		in.Name = fmt.Sprintf("k-%s-%d", c.template, c.asked)
		if _, err := w.createBy(in); err != nil {
			t.Fatal(err)
		}
		out, err := w.schedule(admin, engine.DestroyInput{Key: kms.Ref(in.Name), Window: c.asked})
		switch {
		case c.want == 0 && kms.CodeOf(err) != kms.CodeWindow, c.want != 0 && (err != nil || !out.Key.DestroyAt.Equal(w.now.Add(c.want))):
			t.Errorf("%q, %s: got %s %v, want %s", c.template, c.asked, out.Key.DestroyAt.Sub(w.now), err, c.want)
		}
	}
}

// However templates, requirements and keys are made at the same time: a key is what its template says at the moment that it is made.
func TestKeysAndTemplatesAtTheSameTime(t *testing.T) {
	w := newWorld(t)
	put := func(i int) {
		a := []kms.Algorithm{kms.AES256GCM, kms.ChaCha20Poly1305}[i%2]
		if _, err := w.e.PutTemplate(t.Context(), admin, engine.PutTemplateInput{Template: engine.TemplateInfo{Name: "t", Algorithm: a, Labels: map[string]string{"alg": a.String()}}}); err != nil {
			t.Error(err)
		}
	}
	put(0)
	var group sync.WaitGroup
	group.Go(func() {
		for i := range 40 {
			put(i)
		}
	})
	for g := range 4 {
		group.Go(func() {
			for i := range 20 {
				k, err := w.createBy(engine.CreateKeyInput{Name: fmt.Sprintf("k-%d-%d", g, i), Template: "t"})
				if kms.CodeOf(err) == kms.CodeConflict {
					continue // the template changed eight times meanwhile
				}
				if err != nil || k.Labels["alg"] != k.Algorithm.String() {
					t.Errorf("got %s with %v, %v", k.Algorithm, k.Labels, err)
				}
			}
		})
	}
	group.Wait()
	// With an idempotency token, a repetition is answered as at first, whatever the template says by now.
	c := admin
	c.Token = "once"
	first, err := w.e.CreateKey(t.Context(), c, engine.CreateKeyInput{Name: "once", Template: "t"})
	if err != nil {
		t.Fatal(err)
	}
	put(0)
	put(1)
	again, err := w.e.CreateKey(t.Context(), c, engine.CreateKeyInput{Name: "once", Template: "t"})
	if err != nil || again.Key.ID != first.Key.ID {
		t.Errorf("got %+v %v, want the key from before", again.Key, err)
	}
}
