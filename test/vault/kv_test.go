package vaultclients

import (
	"errors"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"
)

// TestHashiCorpsKVHelper does with KVv2 what its methods offer.
func TestHashiCorpsKVHelper(t *testing.T) {
	server(t)
	c := client(t)
	ctx := t.Context()
	if mounts, err := c.Sys().ListMounts(); err != nil || mounts["secret/"] == nil || mounts["secret/"].Type != "kv" || mounts["secret/"].Options["version"] != "2" {
		t.Fatalf("mounts: got %+v, %v", mounts, err)
	}
	kv := c.KVv2("secret")
	if _, err := kv.Get(ctx, "app/db"); !errors.Is(err, api.ErrSecretNotFound) {
		t.Errorf("a secret that is not there: got %v", err)
	}
	if s, err := kv.Put(ctx, "app/db", map[string]any{"user": "a", "n": 1}, api.WithCheckAndSet(0)); err != nil || s.VersionMetadata.Version != 1 {
		t.Fatalf("put: got %+v, %v", s, err)
	}
	if _, err := kv.Put(ctx, "app/db", map[string]any{"user": "b"}, api.WithCheckAndSet(0)); err == nil || !strings.Contains(err.Error(), "check-and-set parameter did not match the current version") {
		t.Errorf("check-and-set: got %v", err)
	}
	for _, how := range []api.KVOption{api.WithMergeMethod("patch"), api.WithMergeMethod("rw")} {
		if _, err := kv.Patch(ctx, "app/db", map[string]any{"pass": "p", "n": nil}, how); err != nil {
			t.Errorf("patch: %v", err)
		}
	}
	s, err := kv.Get(ctx, "app/db")
	if err != nil || s.VersionMetadata.Version != 3 || s.Data["user"] != "a" || s.Data["pass"] != "p" {
		t.Errorf("get: got %+v, %v", s, err)
	}
	if s, err := kv.GetVersion(ctx, "app/db", 1); err != nil || s.Data["pass"] != nil {
		t.Errorf("version 1: got %+v, %v", s, err)
	}
	if s, err := kv.Rollback(ctx, "app/db", 1); err != nil || s.VersionMetadata.Version != 4 {
		t.Errorf("rollback: got %+v, %v", s, err)
	}
	if all, err := kv.GetVersionsAsList(ctx, "app/db"); err != nil || len(all) != 4 {
		t.Errorf("versions: got %+v, %v", all, err)
	}
	if err := kv.PutMetadata(ctx, "app/db", api.KVMetadataPutInput{MaxVersions: 5, CustomMetadata: map[string]any{"owner": "team"}}); err != nil {
		t.Errorf("metadata: %v", err)
	}
	if m, err := kv.GetMetadata(ctx, "app/db"); err != nil || m.MaxVersions != 5 || m.CurrentVersion != 4 || m.CustomMetadata["owner"] != "team" || len(m.Versions) != 4 {
		t.Errorf("metadata: got %+v, %v", m, err)
	}
	if err := kv.PatchMetadata(ctx, "app/db", api.KVMetadataPatchInput{CustomMetadata: map[string]any{"more": "x"}}); err != nil {
		t.Errorf("metadata is patched: %v", err)
	}
	if m, err := kv.GetMetadata(ctx, "app/db"); err != nil || m.MaxVersions != 5 || m.CustomMetadata["owner"] != "team" || m.CustomMetadata["more"] != "x" {
		t.Errorf("metadata: got %+v, %v", m, err)
	}
	list, err := c.Logical().List("secret/metadata/app")
	if err != nil || len(list.Data["keys"].([]any)) != 1 {
		t.Errorf("list: got %+v, %v", list, err)
	}

	if err := kv.Delete(ctx, "app/db"); err != nil {
		t.Errorf("delete: %v", err)
	}
	if s, err := kv.Get(ctx, "app/db"); err != nil || s.Data != nil || s.VersionMetadata.DeletionTime.IsZero() {
		t.Errorf("deleted: got %+v, %v", s, err)
	}
	if err := kv.Undelete(ctx, "app/db", []int{4}); err != nil {
		t.Errorf("undelete: %v", err)
	}
	if err := kv.DeleteVersions(ctx, "app/db", []int{2}); err != nil {
		t.Errorf("delete versions: %v", err)
	}
	if err := kv.Destroy(ctx, "app/db", []int{1, 2}); err != nil {
		t.Errorf("destroy: %v", err)
	}
	if s, err := kv.GetVersion(ctx, "app/db", 1); err != nil || s.Data != nil || !s.VersionMetadata.Destroyed {
		t.Errorf("destroyed: got %+v, %v", s, err)
	}
	if s, err := kv.Get(ctx, "app/db"); err != nil || s.Data["user"] != "a" {
		t.Errorf("undeleted: got %+v, %v", s, err)
	}
	if err := kv.DeleteMetadata(ctx, "app/db"); err != nil {
		t.Errorf("delete metadata: %v", err)
	}
	if _, err := kv.Get(ctx, "app/db"); !errors.Is(err, api.ErrSecretNotFound) {
		t.Errorf("forgotten: got %v", err)
	}
}

// TestHashiCorpsClientUnwraps what it had wrapped, by its own token and by the wrapping token alone.
func TestHashiCorpsClientUnwraps(t *testing.T) {
	server(t)
	c := client(t)
	if _, err := c.KVv2("secret").Put(t.Context(), "handed/on", map[string]any{"x": "y"}); err != nil {
		t.Fatal(err)
	}
	c.SetWrappingLookupFunc(func(operation, path string) string {
		if strings.HasPrefix(path, "secret/data/") {
			return "60s"
		}
		return ""
	})
	for _, own := range []bool{true, false} {
		s, err := c.Logical().Read("secret/data/handed/on")
		if err != nil || s.WrapInfo == nil || s.WrapInfo.TTL != 60 || s.WrapInfo.CreationPath != "secret/data/handed/on" {
			t.Fatalf("got %+v, %v", s, err)
		}
		token, by := s.WrapInfo.Token, c
		if !own {
			if by, err = c.Clone(); err != nil {
				t.Fatal(err)
			}
			by.SetToken(token)
			token = ""
		}
		look, err := by.Logical().Write("sys/wrapping/lookup", map[string]any{"token": s.WrapInfo.Token})
		if err != nil || look.Data["creation_path"] != "secret/data/handed/on" {
			t.Errorf("look-up: got %+v, %v", look, err)
		}
		got, err := by.Logical().Unwrap(token)
		if err != nil || got.Data["data"].(map[string]any)["x"] != "y" {
			t.Errorf("got %+v, %v", got, err)
		}
		if _, err := by.Logical().Unwrap(token); err == nil {
			t.Error("it is given out twice")
		}
	}
}
