locals {
  urls = {
    for output in openstack_orchestration_stack_v1.mirrors.outputs : output.output_key => output.output_value
  }
}

output "scale_out_url" {
  description = "Alertmanager's webhook for more mirrors"
  value       = local.urls["scale_out_url"]
  sensitive   = true
}

output "scale_in_url" {
  description = "Alertmanager's webhook for one less"
  value       = local.urls["scale_in_url"]
  sensitive   = true
}
