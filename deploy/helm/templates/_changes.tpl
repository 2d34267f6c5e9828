{{- /* "yes" for a file whose manifests are part of what was chosen. */ -}}
{{- define "foremesh.wanted" -}}
{{- $folder := .path | dir | base -}}
{{- $keda := eq .values.scaledBy "keda" -}}
{{- if not (has (base .path) (list "kustomization.yaml" "namespace.yaml")) -}}
{{- if or (eq $folder "base")
          (and (eq $folder "kubernetes") (not $keda))
          (and (eq $folder "keda") $keda)
          (and (eq $folder "monitoring") .values.monitoring) -}}
yes
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* The name of the part that a manifest belongs to; empty where it belongs to all. */ -}}
{{- define "foremesh.part" -}}
{{- $key := "app.kubernetes.io/component" -}}
{{- coalesce (dig "metadata" "labels" $key "" .)
             (dig "spec" "selector" $key "" .)
             (dig "spec" "selector" "matchLabels" $key "" .)
             (dig "spec" "podSelector" "matchLabels" $key "" .)
             (ternary "provisioner" "" (hasPrefix "foremesh-provisioner" (dig "metadata" "name" "" .))) -}}
{{- end -}}

{{- /* Change a manifest in place. */ -}}
{{- define "foremesh.change" -}}
{{- $one := .one -}}
{{- $own := dict "app.kubernetes.io/managed-by" .root.Release.Service "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version) -}}
{{- $_ := set $one.metadata "labels" (merge (get $one.metadata "labels" | default dict) $own) -}}
{{- $_ := set $one.metadata "namespace" .root.Release.Namespace -}}
{{- if hasPrefix "Cluster" $one.kind -}}
{{- $_ := unset $one.metadata "namespace" -}}
{{- end -}}
{{- range $one.subjects -}}
{{- $_ := set . "namespace" $.root.Release.Namespace -}}
{{- end -}}
{{- if and (eq $one.kind "ConfigMap") (eq $one.metadata.name "foremesh") -}}
{{- $_ := set $one "data" (mergeOverwrite $one.data (include "foremesh.strings" .root.Values.config | fromYaml)) -}}
{{- else if eq $one.kind "Job" -}}
{{- /* A Job cannot be changed: each revision has one of its own. */ -}}
{{- $_ := set $one.metadata "name" (printf "%s-%d" $one.metadata.name .root.Release.Revision) -}}
{{- include "foremesh.pods" . -}}
{{- else if eq $one.kind "CronJob" -}}
{{- include "foremesh.pods" (dict "one" $one.spec.jobTemplate "chosen" .chosen "root" .root) -}}
{{- else if eq $one.kind "Deployment" -}}
{{- if hasKey .chosen "replicas" -}}
{{- $_ := set $one.spec "replicas" (int .chosen.replicas) -}}
{{- end -}}
{{- include "foremesh.pods" . -}}
{{- end -}}
{{- end -}}

{{- /* Change what runs in pods: its image, its resources, and when settings change, all of it. */ -}}
{{- define "foremesh.pods" -}}
{{- $image := .root.Values.image -}}
{{- $tag := $image.tag | default .root.Chart.AppVersion -}}
{{- $envoy := $image.envoyRepository | default (printf "%s-envoy" $image.repository) -}}
{{- $pod := .one.spec.template.spec -}}
{{- $_ := set .one.spec.template.metadata "annotations" (dict "foremesh.io/config" (toYaml .root.Values.config | sha256sum)) -}}
{{- range concat (get $pod "initContainers" | default list) $pod.containers -}}
{{- $_ := set . "image" (printf "%s:%s" (eq .image "foremesh-envoy" | ternary $envoy $image.repository) $tag) -}}
{{- $_ := set . "imagePullPolicy" $image.pullPolicy -}}
{{- $_ := mergeOverwrite . (get (get $.chosen "containers" | default dict) .name | default dict) -}}
{{- end -}}
{{- with $image.pullSecrets -}}
{{- $_ := set $pod "imagePullSecrets" . -}}
{{- end -}}
{{- $_ := mergeOverwrite $pod (get .chosen "pod" | default dict) -}}
{{- end -}}

{{- /* Values of a ConfigMap are strings. */ -}}
{{- define "foremesh.strings" -}}
{{- range $name, $value := . }}
{{ $name }}: {{ $value | toString | quote }}
{{- end }}
{{- end -}}
