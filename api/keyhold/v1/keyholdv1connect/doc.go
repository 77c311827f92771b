// Package keyholdv1connect holds the services of the native API as Connect clients and handlers (connectrpc.com/connect), generated from the .proto files
// of package keyholdv1.
package keyholdv1connect
