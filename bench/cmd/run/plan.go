package main

import (
	"slices"
	"strings"

	"github.com/keyhold/keyhold/bench/internal/api"
)

// The servers that are started.
const (
	bareOff      = "bare"
	bareUnsynced = "bare-unsynced"
	bareDurable  = "bare-durable"
	product      = "keyhold"
	unsynced     = "keyhold-unsynced"
	also         = "" // stands in a step for the server of -also

	// the same program, asked in other dialects
	aws           = "keyhold-aws"
	awsUnsynced   = "keyhold-aws-unsynced"
	vault         = "keyhold-vault"
	vaultUnsynced = "keyhold-vault-unsynced"

	// unsyncedMark ends the name of a server whose audit trail is in memory.
	unsyncedMark = "unsynced"

	// apart marks a process of its own for operations that make a server larger, and so change what all others cost.
	apart = "+create"
)

// label is a server's name in the results.
func label(name string) string { return strings.TrimSuffix(name, apart) }

var own = []string{bareOff, bareUnsynced, bareDurable, unsynced, product, awsUnsynced, aws, vaultUnsynced, vault}

// dialects are the protocols that Keyhold's servers are asked in.
var dialects = map[string]string{product: "native", unsynced: "native", aws: "aws", awsUnsynced: "aws", vault: "vault", vaultUnsynced: "vault"}

// step is one shape, run on several servers in turn.
type step struct {
	op        string
	conns     int
	reconnect bool
	servers   []string
}

// Where more than yardstick and product are measured.
var extra = map[string][]string{
	"encrypt-32":        {bareUnsynced, bareDurable, unsynced, awsUnsynced, aws, vaultUnsynced, vault},
	"decrypt-32":        {unsynced, awsUnsynced, aws, vaultUnsynced, vault},
	"encrypt-4096":      {unsynced, vaultUnsynced},
	"decrypt-4096":      {unsynced},
	"datakey":           {unsynced, awsUnsynced, aws, vaultUnsynced, vault},
	"hmac":              {unsynced, vaultUnsynced, vault},
	"sign-ecdsa-p256":   {vault},
	"sign-ed25519":      {vault},
	"sign-rsa-2048-pss": {unsynced},
	"batch-256x32":      {bareUnsynced, bareDurable, unsynced, vaultUnsynced, vault},
}

// further are the shapes beside 16 connections that are kept.
var further = []step{
	{"encrypt-32", 64, false, []string{bareOff, bareDurable, unsynced, product}},
	{"encrypt-32", 1, false, []string{bareOff, bareDurable, product}},
	{"encrypt-32", 16, true, []string{bareOff, product}},
}

// plan lists the steps of one group. The yardstick comes first in each: the others are divided by it.
func plan(ops, servers string) ([]step, error) {
	var known []string
	for _, op := range api.Ops {
		known = append(known, op.Name)
	}
	names, err := list(ops, known)
	if err != nil {
		return nil, err
	}
	wanted, err := list(servers, own)
	if err != nil {
		return nil, err
	}
	var all []step
	add := func(s step) {
		kept := slices.DeleteFunc(slices.Clone(s.servers), func(n string) bool { return n != also && !slices.Contains(wanted, label(n)) })
		if len(kept) > 0 {
			s.servers = kept
			all = append(all, s)
		}
	}
	for _, op := range names {
		if op == "create" {
			add(step{op, 16, false, []string{bareOff + apart, product + apart, also}})
		} else {
			add(step{op, 16, false, slices.Concat([]string{bareOff}, extra[op], []string{product, also})})
		}
	}
	for _, s := range further {
		if ops == "all" {
			add(s)
		}
	}
	return all, nil
}
