package engine_test

import (
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// from is a call that is made in a region.
func from(c kms.Call, region string) kms.Call {
	c.Region = region
	return c
}

// global makes a multi-Region key at home in eu-west-1.
func global(w *world, n string) (kms.Ref, error) {
	_, err := w.e.CreateKey(w.t.Context(), from(admin, "eu-west-1"), engine.CreateKeyInput{Name: n, Algorithm: kms.AES256GCM, MultiRegion: true})
	return kms.Ref(n), err
}

// replicated makes one with a replica in us-east-1.
func replicated(w *world, n string) (kms.Ref, error) {
	k, err := global(w, n)
	if err == nil {
		_, err = w.e.ReplicateKey(w.t.Context(), from(admin, "eu-west-1"), engine.ReplicateInput{Key: k, Region: "us-east-1"})
	}
	return k, err
}

var regionTrials = map[kms.Action]trial{
	kms.ReplicateKey: after(global, func(w *world, k kms.Ref) (engine.KeyOutput, error) {
		return w.e.ReplicateKey(w.t.Context(), from(admin, "eu-west-1"), engine.ReplicateInput{Key: k, Region: "us-east-1"})
	}),
	kms.UpdatePrimaryRegion: after(replicated, func(w *world, k kms.Ref) (engine.KeyOutput, error) {
		return w.e.UpdatePrimaryRegion(w.t.Context(), from(admin, "eu-west-1"), engine.RehomeInput{Key: k, Region: "us-east-1"})
	}),
}

var regionElsewhere = map[kms.Action]string{kms.DeleteReplica: "done by the system when a replica's window ends: TestAReplicaGoesAndTheKeyStays"}
